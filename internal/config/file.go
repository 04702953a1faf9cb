package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// File is a kong.ConfigurationLoader: it reads settings from YAML, one key per
// flag of the command, without the dashes.
func File(r io.Reader) (kong.Resolver, error) {
	values := map[string]yaml.Node{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the settings file is no YAML mapping of settings: %w", err)
	}
	return file(values), nil
}

type file map[string]yaml.Node

// Validate is called by kong; the keys are checked where the command is known.
func (f file) Validate(*kong.Application) error { return nil }

// Resolve gives the value of a flag that the command line does not give, unless
// the environment does.
func (f file) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if parent.Command == nil {
		return nil, nil
	}
	known := make([]string, 0, len(parent.Flags))
	for _, other := range parent.Flags {
		known = append(known, other.Name)
	}
	for key := range f {
		if !slices.Contains(known, key) || key == "config" {
			return nil, fmt.Errorf("the settings file has an unknown key %q%s", key, suggest(key, known))
		}
	}
	for _, name := range flag.Envs {
		if os.Getenv(name) != "" {
			return nil, nil
		}
	}
	node, ok := f[flag.Name]
	if !ok {
		return nil, nil
	}
	if node.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("the settings file has for %s something other than one value", flag.Name)
	}
	return node.Value, nil
}

// suggest names the known key that is nearest to key.
func suggest(key string, known []string) string {
	best, least := "", len(key)/2+1
	for _, k := range known {
		if d := distance(strings.ToLower(key), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the Levenshtein distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
