package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/the-eye/eye/client"
)

// appCommand is `eye app`.
type appCommand struct {
	Create appCreateCommand `cmd:"" help:"Create an application and print an API key for it."`
	List   appListCommand   `cmd:"" help:"List the applications."`
}

// appCreateCommand is `eye app create`.
type appCreateCommand struct {
	Name  string   `arg:"" help:"What people call the application."`
	ID    string   `name:"id" placeholder:"SLUG" help:"Its id: a-z, 0-9 and -, up to 63 characters. Without it, made from the name."`
	Scope []string `default:"events:write,events:read" placeholder:"SCOPE" help:"What it may do; may be given more than once; default ${default}. Others are events:read:all, sql, quarantine, types:read, types:write, admin."`
	JSON  bool     `name:"json" help:"Print the application and the credential as JSON."`

	connection
	dataDir
}

// Help is printed below the flags.
func (*appCreateCommand) Help() string {
	return `The key alone goes to standard output, everything else to standard error. It is
shown once: keep it. The operator's key, or one with the scope admin, is needed.

Examples:
  eye app create "Web shop"
  export EYE_KEY=$(eye app create "Web shop")
  eye app create Analysts --id analysts --scope events:read:all --scope sql`
}

// Run creates the application and its key.
func (c *appCreateCommand) Run(ctx context.Context, std *streams) error {
	id := c.ID
	if id == "" {
		if id = slug(c.Name); id == "" {
			return usageError(fmt.Sprintf("no id can be made from the name %q: give one with --id", c.Name))
		}
	}
	at, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	a, err := at.CreateApplication(ctx, client.Application{ID: id, Name: c.Name, Scopes: c.Scope})
	if p := (*client.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusConflict {
		return fmt.Errorf("there is already an application %q: choose another id with --id; \"eye app list\" shows those that are there", id)
	}
	if err != nil {
		return at.explain(err)
	}
	credential, err := at.CreateCredential(ctx, id, client.NewCredential{Kind: "api_key"})
	if err != nil {
		return fmt.Errorf("the application %s is created, but it has no key: %w", id, at.explain(err))
	}
	if c.JSON {
		return printJSON(std.out, struct {
			Application client.Application `json:"application"`
			Credential  client.Credential  `json:"credential"`
		}{a, credential})
	}
	c.welcome(std, at, id, credential)
	_, err = fmt.Fprintln(std.out, credential.Secret)
	return err
}

// welcome says what the key is and how to use it. The key itself appears only
// where it appears anyway: standard error may be kept in some log.
func (c *appCreateCommand) welcome(std *streams, at *server, id string, credential client.Credential) {
	key, with := "$EYE_KEY", ", with the key in EYE_KEY"
	if terminal(std.out) {
		key, with = credential.Secret, ""
	}
	fmt.Fprintf(std.err, `Application %s may %s.
Its API key is shown this once: keep it. Try it%s:

  curl -sS %s/v1/events \
    -H "Authorization: Bearer %s" -H "Content-Type: application/json" \
    -d '{"session_id":"try-1","category":"page interaction","name":"cta click","data":{"path":"/"},"timestamp":"%s"}'

  eye session try-1

`, id, strings.Join(c.Scope, ", "), with, at.URL(), key, time.Now().UTC().Format(time.RFC3339))
}

// slug makes an id from a name: "" if nothing of it can be used.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case strings.ContainsRune("'’", r) || unicode.Is(unicode.Mn, r):
			// "Bob's shop" is bobs-shop.
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 63 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// appListCommand is `eye app list`.
type appListCommand struct {
	JSON bool `name:"json" help:"Print the applications as JSON, one a line."`

	connection
	dataDir
}

// Help is printed below the flags.
func (*appListCommand) Help() string {
	return `Examples:
  eye app list
  eye app list --json | jq -r .id`
}

// Run lists the applications.
func (c *appListCommand) Run(ctx context.Context, std *streams) error {
	from, err := c.open(std, c.Dir)
	if err != nil {
		return err
	}
	t := &table{screen: newScreen(std.out, std.getenv), columns: []column{
		{title: "ID", style: bold}, {title: "NAME"}, {title: "SCOPES", style: dim},
	}}
	var rows [][]string
	for a, err := range from.Applications(ctx) {
		if err != nil {
			return from.explain(err)
		}
		if c.JSON {
			if err := printJSON(std.out, a); err != nil {
				return err
			}
			continue
		}
		row := []string{clean(a.ID), clean(a.Name), clean(strings.Join(a.Scopes, " "))}
		t.fit(row)
		rows = append(rows, row)
	}
	if c.JSON {
		return nil
	}
	if len(rows) == 0 {
		fmt.Fprintln(std.err, `There are no applications yet; "eye app create NAME" makes one.`)
		return nil
	}
	if err := t.header(); err != nil {
		return err
	}
	for _, row := range rows {
		if err := t.row(row...); err != nil {
			return err
		}
	}
	return nil
}
