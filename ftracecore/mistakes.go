package ftracecore

// Mistakes are ways to get it wrong, each of which somebody made or proposed:
// for showing what the rules of this package are for. The zero value makes none.
type Mistakes struct {
	// DisableThenEnable changes a direct function by taking the site out and
	// putting it back, instead of under the cover of a second ops.
	DisableThenEnable bool
	// KeepEntry leaves the entries of direct_functions behind when the
	// registration of a direct ops fails (v6.6 to v6.17).
	KeepEntry bool
	// NoSelfOnModify does not ask an owner again when its direct function
	// changes while its site is shared (v6.0 to v6.17).
	NoSelfOnModify bool
	// RelockDirectMutex takes direct_mutex in modify a second time (v6.0).
	RelockDirectMutex bool
	// NoGrace frees trampolines and images at once.
	NoGrace bool
	// BlockingPeer lets the owner of a direct function wait for its trampoline's
	// mutex when it is asked on behalf of a livepatch, instead of trying it.
	BlockingPeer bool
}

// Mistakes are those that the core was told to make.
func (c *Core) Mistakes() Mistakes { return c.mistakes }
