/*
 * guard_copy: a copy that survives a bad pointer. The copying instructions stand between two
 * labels; the fault handler looks whether the program counter is between them and moves it to the
 * exit that gives -EFAULT, so a copy needs no preparation at all. Short copies go by two
 * overlapping moves, long ones by `rep movsb`, which moves 32 bytes and more a cycle on processors
 * of the last ten years.
 */
#include "preload/copy.h"

#include <errno.h>
#include <stdint.h>
#include <ucontext.h>

#include "preload/guard.h"

#if defined(__x86_64__)

__asm__(".text\n"
	".p2align 4\n"
	".globl guard_copy\n"
	".hidden guard_copy\n"
	".type guard_copy, @function\n"
	"guard_copy:\n"
	"	.cfi_startproc\n"
	"copy_begin:\n"
	"	cmpq $16, %rdx\n"
	"	jb 2f\n"
	"	cmpq $32, %rdx\n"
	"	ja 1f\n"
	"	movups (%rsi), %xmm0\n" /* 16 to 32 */
	"	movups -16(%rsi,%rdx), %xmm1\n"
	"	movups %xmm0, (%rdi)\n"
	"	movups %xmm1, -16(%rdi,%rdx)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"1:	cmpq $256, %rdx\n"
	"	ja 6f\n"
	"	movups -16(%rsi,%rdx), %xmm2\n" /* 33 to 256: 32 at a time, then the last 32 */
	"	movups -32(%rsi,%rdx), %xmm3\n"
	"	leaq -32(%rdi,%rdx), %rcx\n"
	"7:	movups (%rsi), %xmm0\n"
	"	movups 16(%rsi), %xmm1\n"
	"	movups %xmm0, (%rdi)\n"
	"	movups %xmm1, 16(%rdi)\n"
	"	addq $32, %rsi\n"
	"	addq $32, %rdi\n"
	"	cmpq %rcx, %rdi\n"
	"	jb 7b\n"
	"	movups %xmm3, (%rcx)\n"
	"	movups %xmm2, 16(%rcx)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"6:	movq %rdx, %rcx\n"
	"	rep movsb\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"2:	cmpq $8, %rdx\n" /* 0 to 15 */
	"	jb 3f\n"
	"	movq (%rsi), %rax\n"
	"	movq -8(%rsi,%rdx), %rcx\n"
	"	movq %rax, (%rdi)\n"
	"	movq %rcx, -8(%rdi,%rdx)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"3:	cmpq $4, %rdx\n"
	"	jb 4f\n"
	"	movl (%rsi), %eax\n"
	"	movl -4(%rsi,%rdx), %ecx\n"
	"	movl %eax, (%rdi)\n"
	"	movl %ecx, -4(%rdi,%rdx)\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"4:	testq %rdx, %rdx\n"
	"	jz 5f\n"
	"	movq %rdx, %r9\n" /* 1 to 3 */
	"	shrq $1, %r9\n"
	"	movzbl (%rsi), %eax\n"
	"	movzbl (%rsi,%r9), %r8d\n"
	"	movzbl -1(%rsi,%rdx), %ecx\n"
	"	movb %al, (%rdi)\n"
	"	movb %r8b, (%rdi,%r9)\n"
	"	movb %cl, -1(%rdi,%rdx)\n"
	"5:	xorl %eax, %eax\n"
	"	ret\n"
	"copy_end:\n"
	"copy_bad:\n"
	"	movq $-14, %rax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size guard_copy, .-guard_copy\n");

extern const char copy_begin[], copy_end[], copy_bad[];

bool copy_fault(void *ucontext)
{
	ucontext_t *context = ucontext;
	uintptr_t pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];

	if (pc < (uintptr_t)copy_begin || pc >= (uintptr_t)copy_end)
		return false;
	context->uc_mcontext.gregs[REG_RIP] = (greg_t)copy_bad;
	return true;
}

#else
#error "copy.c: no guarded copy for this processor"
#endif
