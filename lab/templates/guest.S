# SPDX-License-Identifier: Apache-2.0
# A guest in one sector: counts its starts in the second sector of its disk and tells the count on the first serial
# port, so that whoever sees `BFV-BOOT 3` knows that it read what its second start wrote.
    .code16
    .globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    mov %dl, drive
    mov $0x0201, %ax
    call disk
    incb 0x8000
    mov $0x0301, %ax
    call disk
    mov $text, %si
    call say
    mov 0x8000, %al
    add $'0', %al
    call put
    mov $end, %si
    call say
stop:
    hlt
    jmp stop

# One sector to or from 0x8000: cylinder 0, head 0, sector 2.
disk:
    mov $0x8000, %bx
    mov $0x0002, %cx
    xor %dh, %dh
    mov drive, %dl
    int $0x13
    jc failed
    ret
failed:
    mov $trouble, %si
    call say
    jmp stop

say:
    lodsb
    test %al, %al
    jz said
    call put
    jmp say
said:
    ret
put:
    mov $0x3f8, %dx
    out %al, %dx
    ret

drive:
    .byte 0
text:
    .asciz "BFV-BOOT "
trouble:
    .asciz "BFV-TROUBLE"
end:
    .asciz "\r\n"
    # One active partition: without any, Glance takes the image for no disk and refuses it (415).
    .org 446
    .byte 0x80, 0, 3, 0, 0x83, 0, 4, 0
    .long 2, 64 * 2048 - 2
    .org 510
    .word 0xaa55
