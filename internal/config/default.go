package config

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Default is every setting at its default, or at what the environment gives.
func Default() (*Config, error) {
	c := &Config{}
	if err := kong.ApplyDefaults(c); err != nil {
		return nil, fmt.Errorf("default settings: %w", err)
	}
	return c, nil
}
