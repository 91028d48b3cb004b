/*
 * The guest of `make up`: a boot sector that counts its boots on its own disk and talks on the
 * serial port. Sector 0 is this code, sector 1 holds the count (32 bits) and the greeting.
 *
 * Built flat for address 0x7c00: as --32, ld -m elf_i386 -Ttext 0x7c00 --oformat binary.
 */
	.code16
	.set COM1, 0x3f8
	.set COUNT, 0x7e00	/* where sector 1 goes */

	.globl _start
_start:
	ljmp	$0, $1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	cli
	movw	%ax, %ss
	movw	$0x7c00, %sp
	sti
	movb	%dl, drive

	movb	$0x42, %ah	/* INT 13h extensions: read */
	call	disk
	incl	COUNT
	movb	$0x43, %ah	/* and write back */
	call	disk

	movw	$greeting, %si
	call	text
	movl	COUNT, %eax
	call	number
	movw	$rest, %si
	call	text

/* Echo until the end of the world; the timer wakes the processor 18 times a second. */
echo:	movw	$COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jnz	2f
	hlt
	jmp	echo
2:	movw	$COM1, %dx
	inb	%dx, %al
	cmpb	$'\r', %al
	jne	3f
	movw	$newline, %si
	call	text
	jmp	echo
3:	call	char
	jmp	echo

disk:	movb	drive, %dl
	movw	$packet, %si
	movb	$0, %al
	int	$0x13
	jc	4f
	ret
4:	movw	$failed, %si
	call	text
5:	hlt
	jmp	5b

text:	lodsb
	testb	%al, %al
	jz	6f
	call	char
	jmp	text
6:	ret

/* %eax in decimal */
number:	xorl	%edx, %edx
	movl	$10, %ebx
	divl	%ebx
	pushw	%dx
	testl	%eax, %eax
	jz	7f
	call	number
7:	popw	%ax
	addb	$'0', %al

/* %al to the serial port, when it has room */
char:	pushw	%ax
	movw	$COM1 + 5, %dx
8:	inb	%dx, %al
	testb	$0x20, %al
	jz	8b
	popw	%ax
	movw	$COM1, %dx
	outb	%al, %dx
	ret

	.balign 4
packet:	.byte	16, 0
	.word	1		/* sectors */
	.word	COUNT, 0	/* offset, segment */
	.quad	1		/* first sector */
drive:	.byte	0
failed:	.asciz	"The disk cannot be read or written.\r\n"
newline:.asciz	"\r\n"
rest:	.asciz	". Type something:\r\n"

	.org	510
	.word	0xaa55

/* sector 1 */
	.long	0
greeting:
	.asciz	"\r\nThis is the demo guest of vstore. Its disk is a volume of the store;\r\nthe number it keeps there says that this is boot "
	.org	1024
