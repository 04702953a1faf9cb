//go:build !linux && !darwin

package journal

import "errors"

func statfs(string) (fileSystem, error) { return fileSystem{}, errors.ErrUnsupported }
