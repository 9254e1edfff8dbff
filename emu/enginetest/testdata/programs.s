# The programs that every engine runs. A case begins with "#: name"; what
# follows the name on that line are the flags that are undefined at its end.
# A program begins with the registers that programs.go sets, RDI and R15 at the
# data page, RSI in its middle, and ends with ret.
# "go generate" assembles them and runs them on the processor at hand: what
# it computes is what every engine must.

#: add-sizes
	add %bl, %al
	add %bx, %cx
	add %ebx, %edx
	add %rbx, %r8
	add $0x7f, %r9b
	add $-1, %r10
	add $0x12345678, %r11
	ret
#: adc-sbb-chain
	stc
	adc %rbx, %rax
	adc $0, %rcx
	sbb %rdx, %r8
	sbb $0x11, %r9d
	adc %r10b, %r11b
	sbb %r12w, %r13w
	ret
#: sub-cmp-neg
	sub %rbx, %rax
	cmp %rax, %rcx
	sub $0x80, %dl
	neg %r8
	neg %r9b
	cmp $0x7fffffff, %r10d
	ret
#: neg-zero
	xor %eax, %eax
	neg %rax
	ret
#: logic af
	and %rbx, %rax
	or %cl, %dl
	xor %r8d, %r9d
	not %r10
	notb %r11b
	and $0xf0, %r12w
	test %r13, %rax
	ret
#: test-imm af
	test $0x80, %al
	test $0x1000, %ebx
	test %r8b, %r9b
	ret
#: inc-dec
	stc
	inc %al
	dec %bx
	inc %ecx
	dec %rdx
	incq (%rdi)
	decb 8(%rdi)
	ret
#: inc-overflow
	mov $0x7f, %al
	inc %al
	ret
#: dec-overflow
	mov $0x80000000, %eax
	dec %eax
	ret
#: high-bytes
	mov %ah, %bl
	mov $0x55, %ch
	add %dh, %al
	xchg %bh, %cl
	cmp %ah, %dh
	ret
#: partial-writes
	mov $1, %al
	mov $2, %bx
	mov $3, %ecx
	mov $-4, %rdx
	movabs $0x8877665544332211, %r8
	ret
#: mov-extend
	movzbl %al, %ebx
	movzwl %cx, %edx
	movsbq %r8b, %r9
	movswl %r10w, %r11d
	movslq %r12d, %r13
	movzbw 3(%rdi), %r14w
	movsbl 5(%rdi), %ebp
	movswq 6(%rdi), %rsi
	ret
#: addressing
	mov $3, %ecx
	mov (%rdi), %rax
	mov 8(%rdi), %ebx
	mov 0x100(%rdi), %dx
	mov (%rdi,%rcx), %r8b
	mov (%rdi,%rcx,2), %r9
	mov 1(%rdi,%rcx,4), %r10
	mov -8(%rsi,%rcx,8), %r11
	mov 0x20000010(,%rcx,8), %r12
	mov 0x20000040, %r13
	movabs 0x20000050, %rax
	mov %rax, 0x180(%r15)
	mov %bx, 0x188(%r15,%rcx,1)
	ret
#: addressing-rbp-r12-r13
	mov %rdi, %rbp
	mov %rdi, %r12
	mov %rdi, %r13
	mov (%rbp), %rax
	mov (%r12), %rbx
	mov (%r13), %rcx
	mov $4, %r12d
	mov 8(%rbp,%r12,1), %dl
	ret
#: rip-relative
	lea 1f(%rip), %rax
	mov 1f(%rip), %rbx
	add 1f(%rip), %ecx
	jmp 2f
1:	.quad 0x1122334455667788
2:	ret
#: lea
	lea (%rdi,%rsi,2), %rax
	lea -1(%rax), %ebx
	lea 0x7f(%rbx,%rbx,8), %cx
	lea (,%rdx,4), %r8
	addr32 lea -1(%edi), %r9
	ret
#: addr32
	mov (%edi), %rax
	mov $5, %ecx
	mov 4(%edi,%ecx,1), %bl
	ret
#: store-imm
	movb $0x11, (%rdi)
	movw $0x2233, 2(%rdi)
	movl $0x44556677, 4(%rdi)
	movq $-2, 8(%rdi)
	addl $5, 4(%rdi)
	xorb $0xff, 1(%rdi)
	ret
#: rmw af
	add %rax, (%rdi)
	sub %ebx, 8(%rdi)
	and %cx, 16(%rdi)
	or %dl, 24(%rdi)
	xor %r8, 32(%rdi)
	notl 40(%rdi)
	negw 48(%rdi)
	adc %r9, 56(%rdi)
	sbbq $1, 64(%rdi)
	test %rax, (%rdi)
	ret
#: shl1 af
	shl %al
	shl %rbx
	ret
#: shr1 af
	shr %ecx
	shr %rdx
	ret
#: sar1 af
	sar %r8w
	sar %r9
	ret
#: shift-imm af of
	shl $7, %al
	shr $3, %bx
	sar $9, %ecx
	shl $33, %rdx
	sar $63, %r8
	shr $31, %r9d
	ret
#: shift-cl af of
	mov $13, %cl
	shl %cl, %rax
	shr %cl, %ebx
	sar %cl, %rdx
	mov $5, %cl
	sarq %cl, (%rdi)
	shlw %cl, 8(%rdi)
	ret
#: shift-zero
	xor %ecx, %ecx
	cmp %rbx, %rax
	shl %cl, %rax
	sar %cl, %rbx
	mov $32, %cl
	shr %cl, %edx
	rol %cl, %r8d
	ret
#: rotate-1
	rol %al
	ror %bx
	rcl %ecx
	rcr %rdx
	ret
#: rotate of
	rol $5, %al
	ror $7, %bx
	mov $11, %cl
	rol %cl, %rdx
	ror %cl, %r8d
	rcl $3, %r9
	rcr $9, %r10d
	ret
#: rcl-bytes of
	stc
	rcl $7, %al
	rcr $8, %bl
	mov $16, %cl
	rcl %cl, %dx
	ret
#: shld-shrd af of
	shld $12, %rax, %rbx
	shrd $20, %ecx, %edx
	mov $7, %cl
	shld %cl, %r8, %r9
	shrd %cl, %r10, %r11
	ret
#: shrd-memory af of
	mov $7, %ecx
	shrd %cl, %r10, (%rdi)
	ret
#: mul af pf zf sf
	mul %rbx
	mov %rdx, %r8
	mul %cl
	mul %r9w
	mul %r10d
	ret
#: imul af pf zf sf
	imul %rbx
	imul %rcx, %r8
	imul $-7, %r9, %r10
	imul $0x1234, %r11d, %r12d
	imul (%rdi), %r13
	imul %bl
	ret
#: div af pf zf sf cf of
	xor %edx, %edx
	mov $0x123456789, %rax
	mov $1000, %ebx
	div %rbx
	mov %rax, %r8
	mov %rdx, %r9
	mov $0xfe, %eax
	mov $7, %cl
	div %cl
	mov %eax, %r10d
	xor %edx, %edx
	mov $99999, %eax
	div %ebx
	ret
#: idiv af pf zf sf cf of
	mov $-1000000007, %rax
	cqto
	mov $-13, %rbx
	idiv %rbx
	mov %rax, %r8
	mov %rdx, %r9
	mov $-7, %eax
	cltd
	mov $2, %ecx
	idiv %ecx
	ret
#: sign-extend-acc
	mov $0x80, %al
	cbtw
	mov %ax, %bx
	cwtl
	mov %eax, %ecx
	cltq
	mov %rax, %r8
	cqto
	mov %rdx, %r9
	mov $0x7fff, %eax
	cwtd
	ret
#: bt of sf af pf
	bt $3, %rax
	setc %bl
	bts $40, %rcx
	btr %rdx, %r8
	btc $5, %r9d
	bt %r10w, %r11w
	setc %r12b
	btsl $9, (%rdi)
	btcq $60, 8(%rdi)
	ret
#: bt-memory-far of sf af pf
	mov $1000, %eax
	bts %rax, (%rdi)
	mov $-17, %rbx
	btr %rbx, 0x100(%rdi)
	btc %ebx, 0x200(%rdi)
	ret
#: bsf-bsr cf of sf af pf
	bsf %rax, %rbx
	bsr %rcx, %rdx
	bsf %r8d, %r9d
	bsr (%rdi), %r10
	ret
#: bsf-zero cf of sf af pf
	xor %eax, %eax
	bsf %rax, %rbx
	ret
#: bswap
	bswap %eax
	bswap %rbx
	bswap %r8d
	bswap %r9
	ret
#: setcc
	cmp %rbx, %rax
	seto %cl
	setno %ch
	setb %dl
	setae %dh
	sete %r8b
	setne %r9b
	setbe %r10b
	seta %r11b
	sets (%rdi)
	setns 1(%rdi)
	setp 2(%rdi)
	setnp 3(%rdi)
	setl 4(%rdi)
	setge 5(%rdi)
	setle 6(%rdi)
	setg 7(%rdi)
	ret
#: cmov
	cmp %rbx, %rax
	cmovb %rcx, %rdx
	cmovae %r8d, %r9d
	cmovl %r10, %r11
	cmovge %r12w, %r13w
	cmove (%rdi), %rbp
	cmovne 8(%rdi), %esi
	ret
#: xchg
	xchg %rax, %rbx
	xchg %ecx, %edx
	xchg %r8w, (%rdi)
	xchg %r9b, 3(%rdi)
	xchg %rax, %r10
	ret
#: xadd
	xadd %rax, %rbx
	xadd %cl, 1(%rdi)
	lock xadd %rdx, 8(%rdi)
	lock xadd %r8d, 16(%rdi)
	ret
#: cmpxchg
	mov (%rdi), %rax
	cmpxchg %rbx, (%rdi)
	setz %r8b
	cmpxchg %rcx, 8(%rdi)
	setz %r9b
	lock cmpxchg %edx, 16(%rdi)
	mov 24(%rdi), %al
	lock cmpxchg %bl, 24(%rdi)
	setz %r10b
	cmpxchg %r11, %r12
	ret
#: cmpxchg-register
	cmpxchg %ebx, %ecx
	cmpxchg %r8d, %eax
	mov %r9d, %eax
	cmpxchg %r10d, %r9d
	ret
#: cmpxchg-accumulator
	mov (%rdi), %eax
	bts $40, %rax
	cmpxchg %ebx, (%rdi)
	mov %rax, %r8
	bts $41, %rax
	cmpxchg %ecx, 8(%rdi)
	ret
#: cmpxchg8b-16b
	mov (%rdi), %eax
	mov 4(%rdi), %edx
	cmpxchg8b (%rdi)
	setz %r8b
	mov $1, %edx
	cmpxchg8b 8(%rdi)
	setz %r9b
	mov 16(%rdi), %rax
	mov 24(%rdi), %rdx
	lock cmpxchg16b 16(%rdi)
	setz %r10b
	ret
#: lock-ops
	lock addq $5, (%rdi)
	lock orb $0x80, 9(%rdi)
	lock incl 16(%rdi)
	lock subw %bx, 24(%rdi)
	ret
#: lock-neg
	lock negl (%rdi)
	lock negq 8(%rdi)
	ret
#: lock-bts of sf af pf zf
	lock btsq $7, (%rdi)
	ret
#: push-pop
	push %rax
	push %r12
	push $-5
	push $0x12345678
	pushq (%rdi)
	pushw %bx
	popw %cx
	pop %rdx
	pop %r8
	popq 8(%rdi)
	pop %r9
	pop %r10
	push %rsp
	pop %r11
	sub %rsp, %r11
	ret
#: pop-rsp-relative
	push $0x99
	push $0x77
	push $0x55
	popq 8(%rsp)
	pop %rax
	pop %rbx
	ret
#: pushf-popf
	cmp %rbx, %rax
	pushfq
	pop %rcx
	and $0x8d5, %ecx
	pushq $0x8d5
	popfq
	ret
#: lahf-sahf
	cmp %rbx, %rcx
	lahf
	mov %eax, %r8d
	mov $0xd5, %ah
	sahf
	ret
#: flags-ops
	stc
	cmc
	setc %al
	clc
	cmc
	std
	cld
	ret
#: call-ret
	call 1f
	call 2f
	add $3, %rbx
	ret
1:	mov $0x11, %eax
	ret
2:	push %rbx
	mov $0x22, %ebx
	lea (%rbx,%rax), %rcx
	pop %rbx
	ret
#: call-indirect
	lea 1f(%rip), %rax
	call *%rax
	lea 2f(%rip), %rbx
	mov %rbx, (%rdi)
	call *(%rdi)
	lea 3f(%rip), %rcx
	jmp *%rcx
1:	mov $1, %r8d
	ret
2:	mov $2, %r9d
	ret
3:	mov $3, %r10d
	xor %eax, %eax
	xor %ebx, %ebx
	xor %ecx, %ecx
	mov %rax, (%rdi)
	ret
#: ret-imm
	push $1
	push $2
	call 1f
	ret
1:	mov 8(%rsp), %rax
	ret $16
#: enter-leave
	push %rbp
	mov %rsp, %rbp
	sub $0x20, %rsp
	mov %rax, -8(%rbp)
	mov -8(%rbp), %rbx
	mov %rdi, %rcx
	leave
	ret
#: loop
	mov $10, %ecx
	xor %eax, %eax
1:	add %rcx, %rax
	loop 1b
	jrcxz 2f
	mov $-1, %rax
2:	ret
#: jcc
	xor %eax, %eax
	cmp $5, %rbx
	ja 1f
	or $1, %eax
1:	cmp %ecx, %edx
	jl 2f
	or $2, %eax
2:	test %r8, %r8
	js 3f
	or $4, %eax
3:	add $0x7fffffff, %r9d
	jo 4f
	or $8, %eax
4:	test $0xff, %r10b
	jp 5f
	or $16, %eax
5:	cmp %rax, %rax
	ret
#: rep-movs
	mov $40, %ecx
	rep movsb
	mov $3, %ecx
	rep movsq
	mov $5, %ecx
	rep movsl
	ret
#: rep-stos
	mov $17, %ecx
	rep stosb
	mov $4, %ecx
	rep stosq
	xor %ecx, %ecx
	rep stosl
	ret
#: rep-movs-backwards
	std
	add $0x200, %rdi
	mov $9, %ecx
	rep movsw
	cld
	ret
#: movs-overlap
	lea 1(%rdi), %rdi
	lea -1(%rdi), %rsi
	mov $20, %ecx
	rep movsb
	ret
#: repe-cmps
	mov %rdi, %rsi
	add $0x80, %rdi
	mov $16, %ecx
	push %rsi
	push %rdi
	rep movsb
	pop %rdi
	pop %rsi
	mov $16, %ecx
	movb $0x99, 0x80+9(%r15)
	xchg %rsi, %rdi
	lea (%r15), %rsi
	lea 0x80(%r15), %rdi
	repe cmpsb
	mov %rcx, %r8
	mov $4, %ecx
	repe cmpsl
	ret
#: repe-cmpsw
	mov $5, %ecx
	repe cmpsw
	ret
#: repne-scas
	mov 0x55(%rdi), %al
	mov $0x100, %ecx
	repne scasb
	mov %rcx, %r8
	mov $3, %ecx
	repne scasq
	ret
#: repe-scasw
	mov (%rdi), %ax
	mov $3, %ecx
	repe scasw
	ret
#: lods-single
	lodsb
	lodsw
	mov %rax, %rbx
	lodsl
	mov %rax, %rcx
	lodsq
	ret
#: string-single
	movsb
	movsq
	stosl
	scasw
	cmpsb
	ret
#: page-cross
	mov %rax, 0xffd(%rdi)
	mov 0xffd(%rdi), %rbx
	mov 0xffb(%rdi), %rcx
	add %edx, 0xffe(%rdi)
	lock xadd %r8, 0xff9(%rdi)
	mov 0xfff(%rdi), %r9w
	ret
#: nops
	nop
	xchg %ax, %ax
	nopl (%rax)
	nopl 0(%rax,%rax,1)
	nopw %cs:0(%rax,%rax,1)
	endbr64
	pause
	lfence
	mfence
	sfence
	prefetcht0 (%rdi)
	ret
#: popcnt
	popcnt %rax, %rbx
	popcnt %ecx, %edx
	ret
#: movbe
	movbe (%rdi), %rax
	movbe %ebx, 8(%rdi)
	ret
#: lzcnt-tzcnt of sf af pf
	lzcnt %rax, %rbx
	tzcnt %rcx, %rdx
	tzcnt %r8d, %r9d
	ret
#: bmi af pf
	andn %rbx, %rax, %rcx
	blsr %rdx, %r8
	blsi %r9, %r10
	blsmsk %r11, %r12
	ret
#: bmi2-shifts
	shlx %rax, %rbx, %rcx
	sarx %rdx, %r8, %r9
	shrx %r10d, %r11d, %r12d
	rorx $13, %rbx, %r13
	mulx %r8, %rbp, %r14
	ret
#: pdep-pext
	pdep %rax, %rbx, %rcx
	pext %rdx, %r8, %r9
	ret
#: crc32
	crc32b %bl, %eax
	crc32q %rcx, %rdx
	ret
#: fibonacci
	mov $50, %ecx
	xor %eax, %eax
	mov $1, %edx
1:	xadd %rdx, %rax
	xchg %rax, %rdx
	dec %ecx
	jnz 1b
	ret
#: sum-array
	xor %eax, %eax
	xor %ecx, %ecx
1:	movzbl (%rdi,%rcx), %edx
	add %rdx, %rax
	inc %rcx
	cmp $0x400, %rcx
	jne 1b
	mov %rax, 0x800(%rdi)
	ret
#: recursion
	mov $9, %edi
	call 1f
	mov %r15, %rdi
	ret
1:	cmp $2, %edi
	jae 2f
	mov $1, %eax
	ret
2:	push %rbx
	mov %edi, %ebx
	lea -1(%rbx), %edi
	call 1b
	imul %ebx, %eax
	pop %rbx
	cmp %eax, %eax
	ret
