// Package files writes files whole or not at all.
package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file; where that fails the old one stays. What is no ordinary
// file, a pipe for example, is written to. Errors name the file.
func Replace(file string, content []byte) error {
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(content)
		return errors.Join(err, f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return named(err, file)
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return named(err, file)
	}
	return named(os.Rename(f.Name(), file), file)
}

// Check tells before there is any content whether Replace could write the file:
// whether its folder is there and files can be made in it.
func Check(file string) error {
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		if fi.IsDir() {
			_, err = os.OpenFile(file, os.O_WRONLY, 0)
		}
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return named(err, file)
	}
	return named(errors.Join(f.Close(), os.Remove(f.Name())), file)
}

// named takes the name of the temporary file, which is never the same twice, out of
// an error.
func named(err error, file string) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "write", Path: file, Err: err}
}
