package main

import (
	"fmt"

	"ftemu"
	"ftemu/gdb"
)

type gdbCmd struct {
	kernelFlags
	Listen string `default:"127.0.0.1:1234" placeholder:"WHERE" help:"Where gdb connects: 127.0.0.1:PORT (port 0: any that is free) or unix:PATH (default ${default})."`
	ELF    string `name:"elf" placeholder:"FILE" help:"Write the names of what is in memory to an ELF file for gdb to load."`
	Seed   uint64 `default:"1" placeholder:"N" help:"Seed of the registers that a call leaves undefined (default ${default})."`
	File   string `arg:"" help:"Scenario."`
}

// Help is printed by gdb --help.
func (*gdbCmd) Help() string {
	return "The run waits before the first guest instruction of the first call line, and ends with the client. docs/gdb.md walks through a session."
}

// Run serves one client.
func (c *gdbCmd) Run(a *app) error {
	opt := ftemu.Options{Seed: c.Seed}
	if err := c.apply(&opt); err != nil {
		return err
	}
	s, err := parseScenario(a, c.File)
	if err != nil {
		return err
	}
	l, err := gdb.Listen(c.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
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
	where := l.Addr().String()
	fmt.Fprintf(a.stdout, "waiting for gdb: target remote %s\n", where)
	if err := a.stdout.Flush(); err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	l.Close()
	return run.Serve(conn)
}
