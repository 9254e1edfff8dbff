package ftracecore

// EagainFlagDesign is version 2 of the series, of June 2022: a flag on the ops
// says that its direct function can share. Without it ftrace itself answers
// -EAGAIN to a direct ops that meets a livepatch, and holds direct_mutex from
// asking the peers of a livepatch to the end of its registration. Nobody is told
// when the livepatch leaves.
func EagainFlagDesign() Design {
	merged := OpsFuncDesign()
	return Design{
		name:     "eagain-flag",
		about:    "-EAGAIN for a direct caller that meets a livepatch, unless a flag says that it can share (version 2 of the series)",
		Protocol: FlagOnAgain,
		// A plain ops takes no direct_mutex; only what can conflict does.
		locksDirect: func(ops *Ops) bool { return ops.Has(OpsIPModify) && !ops.Has(OpsDirect) },
		prepare:     merged.prepare,
		cleanup:     func(*Core, *Ops) error { return nil },
		directMeetsIPModify: func(c *Core, ops *Ops, rec *Record) error {
			if ops.Has(OpsShare) {
				return nil
			}
			return c.refuseOwned(EAGAIN, c.siteName(rec.IP), c.ipmodifyOwners(rec.IP, ops),
				"it has IPMODIFY and direct ops %q lacks SHARE_IPMODIFY", ops.Name)
		},
	}
}
