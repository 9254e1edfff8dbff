package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// compare compares two JSON values and returns where they differ: values of
// objects and of lists of the same length one by one, with the path in Field.
// Absent and null are the same. at is the difference without its values.
func compare(at Diff, kernel, ftemu json.RawMessage) []Diff {
	kernel, ftemu = normal(kernel), normal(ftemu)
	if bytes.Equal(kernel, ftemu) {
		return nil
	}
	if k, f := list(kernel), list(ftemu); k != nil && f != nil && len(k) == len(f) {
		var out []Diff
		for i := range k {
			next := at
			next.Field += "[" + label(k[i], f[i], i) + "]"
			out = append(out, compare(next, k[i], f[i])...)
		}
		return out
	}
	if k, f := object(kernel), object(ftemu); k != nil && f != nil {
		var out []Diff
		for _, key := range keys(k, f) {
			next := at
			next.Field += "." + key
			out = append(out, compare(next, k[key], f[key])...)
		}
		return out
	}
	if kernel != nil && ftemu != nil && scalar(kernel) == scalar(ftemu) {
		return nil
	}
	at.Kernel, at.Ftemu = string(kernel), string(ftemu)
	return []Diff{at}
}

// normal turns what stands for nothing into nothing.
func normal(m json.RawMessage) json.RawMessage {
	if string(m) == "null" {
		return nil
	}
	return m
}

// scalar is a string, a number as it is written, or a boolean, however escaped.
// Lists and objects, which differ if they get here, are never equal.
func scalar(m json.RawMessage) any {
	dec := json.NewDecoder(bytes.NewReader(m))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	switch v.(type) {
	case []any, map[string]any:
		return &v
	}
	return v
}

func list(m json.RawMessage) (out []json.RawMessage) {
	if json.Unmarshal(m, &out) != nil {
		return nil
	}
	return out
}

func object(m json.RawMessage) (out map[string]json.RawMessage) {
	if json.Unmarshal(m, &out) != nil {
		return nil
	}
	return out
}

// label names an element of a list: by the site or the ops that it is of if both
// sides agree about that, otherwise by its index.
func label(k, f json.RawMessage, i int) string {
	a, b := object(k), object(f)
	for _, key := range []string{"s", "id"} {
		var name string
		if v := a[key]; v != nil && bytes.Equal(v, b[key]) && json.Unmarshal(v, &name) == nil {
			return name
		}
	}
	return fmt.Sprint(i)
}

// keys are the keys of either object, by name.
func keys(a, b map[string]json.RawMessage) []string {
	var all []string
	for k := range a {
		all = append(all, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}
