package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// helpCommand is `eye help [COMMAND]`.
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, e.g. version."`
}

// Run prints the same as COMMAND --help.
func (c *helpCommand) Run(parser *kong.Kong) error {
	var shown bool
	parser.Exit = func(int) { shown = true }
	// Parsing goes on behind --help and may fail then, e.g. for want of an argument.
	if _, err := parser.Parse(append(c.Command, "--help")); err != nil && !shown {
		return usageError(fmt.Sprintf("help: %v; \"eye help\" lists the commands", err))
	}
	return nil
}
