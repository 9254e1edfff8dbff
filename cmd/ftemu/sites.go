package main

import (
	"fmt"
	"slices"

	"ftemu/ftracecore"
	"ftemu/guest"
)

// placeholderBase is where symbols that an object leaves undefined are put when
// it is only looked at.
const placeholderBase = 0xffffffff82000000

// lookAt loads an object or a kernel to look at, not to run.
func lookAt(file string) (*guest.Image, error) {
	if err := noDirectory(file); err != nil {
		return nil, err
	}
	return guest.LoadFile(file, guest.LoadOptions{Extern: guest.Placeholders(placeholderBase)})
}

type sitesCmd struct {
	JSON bool   `name:"json" help:"Print one JSON object for each site."`
	File string `arg:"" complete:"*.o *.ko vmlinu*" help:"Object (.o), kernel module (.ko) or kernel (vmlinuz, vmlinux)."`
	Glob string `arg:"" optional:"" help:"Functions to list, as set_ftrace_filter takes them; all if left out."`
}

// Run lists the sites of an object.
func (c *sitesCmd) Run(a *app) error {
	img, err := lookAt(c.File)
	if err != nil {
		return err
	}
	why := img.RequireSites()
	if c.Glob != "" {
		match := ftracecore.Glob(c.Glob)
		other := func(s guest.Site) bool { return s.Invalid || !match(s.Func) }
		img.Sites, img.Padding = slices.DeleteFunc(img.Sites, other), slices.DeleteFunc(img.Padding, other)
		if why == nil && len(img.Sites) == 0 {
			why = fmt.Errorf("%s: no function with a site matches %q", c.File, c.Glob)
		}
	}
	if c.JSON {
		for _, s := range img.SiteList() {
			if err := a.encode(s); err != nil {
				return err
			}
		}
	} else if err := img.WriteSites(a.stdout); err != nil {
		return err
	}
	return why
}

type disasmCmd struct {
	JSON     bool   `name:"json" help:"Print one JSON object for each instruction."`
	File     string `arg:"" complete:"*.o *.ko vmlinu*" help:"Object (.o), kernel module (.ko) or kernel (vmlinuz, vmlinux)."`
	Function string `arg:"" optional:"" help:"Function to show; all if left out."`
}

// Run disassembles an object.
func (c *disasmCmd) Run(a *app) error {
	img, err := lookAt(c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		return img.Disasm(c.Function, func(in guest.InsnInfo) error { return a.encode(in) })
	}
	return img.WriteDisasm(a.stdout, c.Function)
}
