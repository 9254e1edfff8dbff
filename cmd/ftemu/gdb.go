package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"ftemu"
	"ftemu/gdb"
)

type gdbCmd struct {
	kernelFlags
	Listen string   `placeholder:"WHERE" help:"Start no gdb, wait for one to connect: 127.0.0.1:PORT (port 0: any that is free) or unix:PATH."`
	ELF    string   `name:"elf" placeholder:"FILE" help:"Write what gdb is told about names and frames to an ELF file."`
	Seed   uint64   `default:"1" placeholder:"N" help:"Seed of the registers that a call leaves undefined (default ${default})."`
	File   string   `arg:"" help:"Scenario."`
	Args   []string `arg:"" name:"gdb-argument" optional:"" help:"For gdb, behind --."`
}

// Help is printed by gdb --help.
func (*gdbCmd) Help() string {
	return "Starts gdb on the run, which waits before the first guest instruction of the first call line. docs/gdb.md walks through a session."
}

// Run starts gdb, or serves one that connects.
func (c *gdbCmd) Run(a *app) error {
	if c.Listen != "" && len(c.Args) > 0 {
		return fmt.Errorf("--listen starts no gdb, so that %q is for none", c.Args[0])
	}
	opt := ftemu.Options{Seed: c.Seed}
	if err := c.apply(&opt); err != nil {
		return err
	}
	s, err := parseScenario(a, c.File)
	if err != nil {
		return err
	}
	run, err := gdb.NewRun(s, opt)
	if err != nil {
		return fmt.Errorf("%s: %w", s.File, err)
	}
	defer run.Close()
	if c.ELF != "" {
		elf, err := run.ELF()
		if err != nil {
			return err
		}
		if err := replaceFile(c.ELF, elf); err != nil {
			return err
		}
	}
	if c.Listen == "" {
		return c.start(a, run)
	}
	l, err := gdb.Listen(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	defer l.Close()
	fmt.Fprintf(a.stdout, "waiting for gdb: target remote %s\n", l.Addr())
	if err := a.stdout.Flush(); err != nil {
		return err
	}
	return serve(run, l)
}

// serve lets the first client in. There is no second one.
func serve(run *gdb.Run, l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	l.Close()
	return run.Serve(conn)
}

// start runs gdb as a child, connected through a socket that nobody else gets at. The
// exit status is gdb's.
func (c *gdbCmd) start(a *app, run *gdb.Run) error {
	path, err := exec.LookPath("gdb")
	if err != nil {
		return errors.New("gdb is not installed: the package gdb has it, and --listen waits for one to connect")
	}
	dir, err := os.MkdirTemp("", "ftemu-gdb")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	elf, err := run.ELF()
	if err != nil {
		return err
	}
	names, socket := filepath.Join(dir, "ftemu.elf"), filepath.Join(dir, "socket")
	if err := os.WriteFile(names, elf, 0o600); err != nil {
		return err
	}
	l, err := gdb.Listen("unix:" + socket)
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- serve(run, l) }()

	// Ctrl-C is gdb's.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	args := []string{"-q", names, "-ex", "target remote " + socket}
	if len(c.Args) == 0 {
		args = append(args, "-ex", "monitor script")
	}
	cmd := exec.Command(path, append(args, c.Args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	l.Close()
	if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	var status *exec.ExitError
	switch {
	case errors.As(err, &status) && status.Exited():
		a.exit(status.ExitCode())
	case err != nil:
		return fmt.Errorf("gdb: %w", err)
	}
	return nil
}
