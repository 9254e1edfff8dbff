/*
 * The locks of the ops-func design (see ftracecore), and what is read and
 * written under them: livepatches that register and unregister, and a BPF
 * trampoline with a program that runs behind the function, attached and
 * detached. Every statement is one step; explore/model_test.go has the same
 * ones, in the same order.
 *
 *   LIVEPATCHES   how many livepatches (2)
 *   BLOCKING      the trampoline's owner waits for its mutex when it is asked
 *                 on behalf of a livepatch
 *   NO_SELF       when a livepatch leaves, nobody looks whether another has come
 */
#ifndef LIVEPATCHES
#define LIVEPATCHES 2
#endif

bool direct_mutex, ftrace_lock, tr_mutex;
bool ipmodify;	/* a livepatch is registered on the site */
bool attached;	/* the direct ops is registered on the site */
bool entry;	/* the site is in direct_functions */
bool share;	/* the trampoline's flag SHARE_IPMODIFY */
bool orig;	/* its image respects the changed instruction pointer */

/* The if is for labels, which may not stand before a d_step. */
#define lock(l)		if :: d_step { !l -> l = true } fi
#define unlock(l)	l = false
#define safe		assert(!(ipmodify && attached && !orig))

#ifdef BLOCKING
#define busy_if(c)	false
#else
#define busy_if(c)	(c)
#endif

#ifdef NO_SELF
#define another		false
#else
#define another		ipmodify
#endif

active [LIVEPATCHES] proctype livepatch()
{
	bool peer, mine;

	/* register_ftrace_function: ask the owner of the direct ops, */
	lock(direct_mutex);
	lock(ftrace_lock);
	d_step { peer = attached };
	unlock(ftrace_lock);
	if
	:: d_step { !peer -> skip }; goto enter
	:: d_step { peer && !tr_mutex -> tr_mutex = true }
	:: d_step { busy_if(peer && tr_mutex) -> skip }; goto refused
	fi;
	d_step { share = true };
	lock(ftrace_lock);
	d_step { orig = true };
	unlock(ftrace_lock);
	unlock(tr_mutex);
enter:	/* then enter the list, where nobody else is IPMODIFY. */
	lock(ftrace_lock);
	if
	:: d_step { !ipmodify -> ipmodify = true; mine = true; safe }
	:: d_step { ipmodify -> skip }
	fi;
	unlock(ftrace_lock);
refused:
	unlock(direct_mutex);
	if
	:: d_step { mine -> skip }
	:: d_step { !mine -> skip }; goto end_done
	fi;

	/* unregister_ftrace_function, then tell the owner. */
	lock(ftrace_lock);
	d_step { ipmodify = false };
	unlock(ftrace_lock);
	lock(direct_mutex);
	lock(ftrace_lock);
	d_step { peer = attached };
	unlock(ftrace_lock);
	if
	:: d_step { !peer -> skip }; goto told
	:: d_step { peer && !tr_mutex -> tr_mutex = true }
	:: d_step { busy_if(peer && tr_mutex) -> skip }; goto told
	fi;
	lock(ftrace_lock);
	d_step { orig = another; share = orig; safe };
	unlock(ftrace_lock);
	unlock(tr_mutex);
told:
	unlock(direct_mutex);
end_done:
	false
}

active proctype bpf()
{
	bool failed;

	/* bpf_trampoline_link_prog: try again where the image cannot share yet. */
	lock(tr_mutex);
again:
	lock(direct_mutex);
	d_step { entry = true };
	lock(ftrace_lock);
	if
	:: d_step { ipmodify && !share -> share = true; failed = true }
	:: d_step { !(ipmodify && !share) -> attached = true; orig = share; failed = false; safe }
	fi;
	unlock(ftrace_lock);
	d_step { entry = !failed };
	unlock(direct_mutex);
	if
	:: d_step { failed -> skip }; goto again
	:: d_step { !failed -> skip }
	fi;
	unlock(tr_mutex);

	/* bpf_trampoline_unlink_prog */
	lock(tr_mutex);
	lock(direct_mutex);
	lock(ftrace_lock);
	d_step { attached = false };
	unlock(ftrace_lock);
	d_step { entry = false };
	unlock(direct_mutex);
	d_step { orig = false; share = false };
	unlock(tr_mutex);
end_done:
	false
}
