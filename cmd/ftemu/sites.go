package main

import (
	"encoding/json"

	"ftemu/guest"
)

// placeholderBase is where symbols that an object leaves undefined are put when
// it is only looked at.
const placeholderBase = 0xffffffff82000000

// lookAt loads an object or a kernel to look at, not to run.
func lookAt(file string) (*guest.Image, error) {
	return guest.LoadFile(file, guest.LoadOptions{Extern: guest.Placeholders(placeholderBase)})
}

type sitesCmd struct {
	JSON bool   `name:"json" help:"Print one JSON object for each site."`
	File string `arg:"" help:"Object (.o), kernel module (.ko) or kernel (vmlinuz, vmlinux)."`
}

// Run lists the sites of an object.
func (c *sitesCmd) Run(a *app) error {
	img, err := lookAt(c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(a.stdout)
		for _, s := range img.SiteList() {
			if err := enc.Encode(s); err != nil {
				return err
			}
		}
	} else if err := img.WriteSites(a.stdout); err != nil {
		return err
	}
	return img.RequireSites()
}

type disasmCmd struct {
	File     string `arg:"" help:"Object (.o), kernel module (.ko) or kernel (vmlinuz, vmlinux)."`
	Function string `arg:"" optional:"" help:"Function to show; all if left out."`
}

// Run disassembles an object.
func (c *disasmCmd) Run(a *app) error {
	img, err := lookAt(c.File)
	if err != nil {
		return err
	}
	return img.WriteDisasm(a.stdout, c.Function)
}
