// Command eye is The Eye: the server and the tools around it.
//
// One file holds one command: a struct whose fields are its flags and
// arguments, a Help method with examples, and a Run method. A command is
// added by its file and one line in cli.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/the-eye/eye/internal/config"
)

// cli is the command line: one field per command, in the order of the help.
type cli struct {
	Serve serveCommand `cmd:"" group:"server" help:"Run the server."`
	Demo  demoCommand  `cmd:"" group:"server" help:"Run a server with demo applications and their traffic."`

	Send    sendCommand    `cmd:"" group:"events" help:"Send events from files, from standard input, or one from flags."`
	Tail    tailCommand    `cmd:"" group:"events" help:"Print events as they are stored."`
	Session sessionCommand `cmd:"" group:"events" help:"Print the events of one session in order."`
	Receipt receiptCommand `cmd:"" group:"events" help:"Tell what became of something that was sent."`

	App   appCommand   `cmd:"" group:"manage" help:"Create and list applications."`
	Bench benchCommand `cmd:"" group:"manage" help:"Measure how fast The Eye is here, and that it keeps what it promises."`

	Help    helpCommand    `cmd:"" group:"about" help:"Show help about eye or one of its commands."`
	Version versionCommand `cmd:"" group:"about" help:"Print which build of eye this is."`
}

// groups are the headings of the help.
var groups = []kong.Group{
	{Key: "server", Title: "Run The Eye:"},
	{Key: "events", Title: "Send and read events:"},
	{Key: "manage", Title: "Manage:"},
	{Key: "about", Title: "About:"},

	// of flags
	{Key: "one", Title: "One event, instead of files:"},
	{Key: "filter", Title: "Filter:"},
	{Key: "connect", Title: "Server:"},
}

// The exit codes.
const (
	exitOK     = 0 // done
	exitFailed = 1 // it did not work, and standard error says why
	exitUsage  = 2 // the command line is wrong
)

// streams are a command's ways in and out. Results go to out, everything said
// to a person on the side goes to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

func main() {
	// A variable that is set to nothing is as good as not set: kong would take
	// it for a number that cannot be read.
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); value == "" && strings.HasPrefix(name, "EYE_") {
			os.Unsetenv(name)
		}
	}
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program. Flags take their EYE_… variables from the process
// environment; getenv is for what is no flag.
//
// The first SIGINT or SIGTERM cancels the command's context, so that it ends
// in good order; the second ends the process at once.
func run(args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	var shown bool // help or the version was asked for and printed
	parser, err := kong.New(&cli{},
		kong.Name("eye"),
		kong.Description("The Eye takes events in, proves that it has them, keeps each session in order, and answers questions."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { shown = true }),
		kong.ExplicitGroups(groups),
		kong.Configuration(config.File),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&streams{in: stdin, out: stdout, err: stderr, getenv: getenv}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "eye:", err)
		return exitFailed
	}
	if len(args) == 0 {
		parser.Stdout = stderr
		parser.Parse([]string{"--help"})
		return exitUsage
	}

	command, err := parser.Parse(args)
	if shown {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "eye:", err)
		fmt.Fprintf(stderr, "%q tells more.\n", helpFor(err))
		return exitUsage
	}
	return report(ctx, stderr, command.Run())
}

// report says on stderr why a command failed, and returns the exit code.
func report(ctx context.Context, stderr io.Writer, err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
		return exitFailed
	case errors.As(err, new(usageError)):
		fmt.Fprintln(stderr, "eye:", err)
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "eye: interrupted")
		return exitFailed
	default:
		fmt.Fprintln(stderr, "eye:", err)
		return exitFailed
	}
}

// errSaid ends a command with exit code 1 when it has already said why.
var errSaid = errors.New("failed")

// usageError is a mistake on the command line that only the command can see.
type usageError string

func (e usageError) Error() string { return string(e) }

// helpFor is the command line that helps with a command line that did not parse.
func helpFor(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		return "eye help " + strings.TrimPrefix(parse.Context.Selected().Path(), "eye ")
	}
	return "eye help"
}
