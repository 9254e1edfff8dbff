package report

import (
	"fmt"
	"strings"
)

// A FramePicture is a stack frame to scale.
type FramePicture struct {
	Size, Deep     int64
	Width, Height  int
	Boxes          []Box
	RBP            bool
	EntryY, CallsY float64 // where rsp is on entry and at the calls
	Title          string
}

// A Box is one part of the frame.
type Box struct {
	Y, H, TextY         float64
	Off, RBP            string // from rsp at the calls, and from rbp
	Size                int64
	Name, Content       string
	Value, Full         string // Full is content and value at length
	Class               string
	Short               bool // too low for text
	ShowName, ShowValue string
}

// Measures of a frame, in pixels at the natural size.
const (
	frameWidth   = 896
	wordHeight   = 20.0 // of 8 bytes
	mostHeight   = 1600.0
	textHeight   = 15.0
	nameChars    = 24
	contentChars = 50
)

// draw makes the picture.
func (t *Tramp) draw() {
	f := t.frame
	if f == nil {
		return
	}
	perByte := wordHeight / 8
	total := int64(0)
	for _, p := range f.Parts {
		total += p.Size
	}
	perByte = min(perByte, mostHeight/float64(max(total, 1)))
	p := &FramePicture{Size: f.Size, Deep: f.Deep, Width: frameWidth, RBP: f.RBP}
	y := 24.0
	for _, part := range f.Parts {
		b := Box{Y: y, H: float64(part.Size) * perByte, Off: signed(part.Off), Size: part.Size, Name: part.Name}
		if f.RBP {
			b.RBP = signed(part.Slot - f.RBPOff)
		}
		b.Content, b.Class = strings.Join(part.Content, ", then "), "stored"
		switch {
		case part.Slot >= 0:
			b.Class = "above"
		case len(part.Content) == 0:
			b.Content, b.Class = "not written", "unused"
		}
		if v, ok := t.value[part.Slot]; ok && part.Size <= 8 {
			b.Value = hex(v)
		}
		b.Full = strings.TrimSpace(fmt.Sprintf("%s, %d bytes at rsp%s: %s %s", orWord(part.Name), part.Size, b.Off, b.Content, b.Value))
		b.TextY = b.Y + b.H/2 + 4
		b.Short = b.H < textHeight
		b.ShowName, b.ShowValue = cutTo(part.Name, nameChars), cutTo(b.Content, contentChars)
		if part.Slot == 0 {
			p.EntryY = y + b.H
		}
		y += b.H
		p.Boxes = append(p.Boxes, b)
	}
	p.CallsY = y
	p.Height = int(y) + 26
	p.Title = fmt.Sprintf("Stack frame of %s: %d bytes below the return slot", t.Name, f.Size)
	t.Frame = p
}

func orWord(name string) string {
	if name == "" {
		return "no name"
	}
	return name
}

func signed(v int64) string {
	if v < 0 {
		return fmt.Sprintf("-%#x", -v)
	}
	return fmt.Sprintf("+%#x", v)
}
