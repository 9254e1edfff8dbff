package script

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ftemu/x86"
)

func TestChanges(t *testing.T) {
	f0 := SiteState{Site: "f0", IP: 0x1000, Form: "nop", Raw: "0f1f440000", Bytes: x86.Nop5}
	called := f0
	called.Count, called.Flags, called.Form, called.Raw, called.Bytes = 1, "EN", "call", "e8........", x86.Bytes5{0xe8}
	twice := called
	twice.Count = 2
	for _, tt := range []struct {
		name string
		res  Result
		want []SiteChange
	}{
		{"unlisted before", Result{Sites: []SiteState{called}}, []SiteChange{{&f0, &called}}},
		{"listed before", Result{Before: []SiteState{called}, Sites: []SiteState{twice}}, []SiteChange{{&called, &twice}}},
		{"as it was", Result{Before: []SiteState{called}, Sites: []SiteState{called}}, nil},
		{"unlisted after", Result{Before: []SiteState{called}}, []SiteChange{{&called, &f0}}},
		{"listed by name alone", Result{Before: []SiteState{f0}}, nil},
		{"too many before", Result{BeforeMore: 2000, Sites: []SiteState{called}}, []SiteChange{{nil, &called}}},
		{"too many after", Result{More: 2000, Before: []SiteState{called}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, tt.res.Changes()) })
	}
}
