//! A program for the kernel's BPF machine, put together by hand: a few dozen instructions need no compiler on the
//! build machine and no loader at run time. The encoding is that of `linux/bpf.h` and `linux/bpf_common.h`.

use std::os::fd::RawFd;

/// A register of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reg(u8);

/// What a call gives back, and what a program ends with.
pub(super) const R0: Reg = Reg(0);
/// First argument of a call, and what a program is begun with. Calls destroy `R1` to `R5`.
pub(super) const R1: Reg = Reg(1);
/// Second argument.
pub(super) const R2: Reg = Reg(2);
/// Third argument.
pub(super) const R3: Reg = Reg(3);
/// Fourth argument.
pub(super) const R4: Reg = Reg(4);
/// Survives calls, as do the next three.
pub(super) const R6: Reg = Reg(6);
/// Survives calls.
pub(super) const R7: Reg = Reg(7);
/// Survives calls.
pub(super) const R8: Reg = Reg(8);
/// Survives calls.
pub(super) const R9: Reg = Reg(9);
/// The end of the stack, which grows downwards: 512 bytes.
pub(super) const STACK: Reg = Reg(10);

/// A function of the kernel, by its number in `enum bpf_func_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    LookUp = 1,
    Update = 2,
    CurrentPidTgid = 14,
    CurrentCgroup = 80,
    ReadUser = 112,
    ReadKernel = 113,
    ReadKernelText = 115,
    TimeSinceBoot = 125,
}

/// A jump whose end is not known yet.
#[must_use]
pub(super) struct Jump(usize);

/// Instructions in their order.
#[derive(Default)]
pub(super) struct Code(Vec<u64>);

impl Code {
    fn push(&mut self, op: u8, dst: Reg, src: Reg, offset: i16, immediate: i32) {
        let word = u64::from(op)
            | u64::from(dst.0) << 8
            | u64::from(src.0) << 12
            | u64::from(offset.cast_unsigned()) << 16
            | u64::from(immediate.cast_unsigned()) << 32;
        self.0.push(word);
    }

    /// The instructions as the kernel takes them.
    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }

    /// `dst = src + add`, all 64 bits.
    pub(super) fn sum(&mut self, dst: Reg, src: Reg, add: i32) {
        self.push(0xbf, dst, src, 0, 0);
        if add != 0 {
            self.push(0x07, dst, R0, 0, add);
        }
    }

    /// `dst = value`.
    pub(super) fn set(&mut self, dst: Reg, value: i32) {
        self.push(0xb7, dst, R0, 0, value);
    }

    /// `dst -= src`.
    pub(super) fn subtract(&mut self, dst: Reg, src: Reg) {
        self.push(0x1f, dst, src, 0, 0);
    }

    /// `dst >>= bits`, filled with zeros.
    pub(super) fn shift_right(&mut self, dst: Reg, bits: i32) {
        self.push(0x77, dst, R0, 0, bits);
    }

    /// `dst = *(u64 *)(src + offset)`.
    pub(super) fn load_long(&mut self, dst: Reg, src: Reg, offset: i16) {
        self.push(0x79, dst, src, offset, 0);
    }

    /// `dst = *(u32 *)(src + offset)`.
    pub(super) fn load_word(&mut self, dst: Reg, src: Reg, offset: i16) {
        self.push(0x61, dst, src, offset, 0);
    }

    /// `*(u64 *)(dst + offset) = src`.
    pub(super) fn store_long(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(0x7b, dst, src, offset, 0);
    }

    /// `*(u32 *)(dst + offset) = src`.
    pub(super) fn store_word(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(0x63, dst, src, offset, 0);
    }

    /// `*(u32 *)(dst + offset) = value`.
    pub(super) fn put_word(&mut self, dst: Reg, offset: i16, value: i32) {
        self.push(0x62, dst, R0, offset, value);
    }

    /// `*(u64 *)(dst + offset) = value`, sign-extended.
    pub(super) fn put_long(&mut self, dst: Reg, offset: i16, value: i32) {
        self.push(0x7a, dst, R0, offset, value);
    }

    /// `dst =` the map behind this descriptor.
    pub(super) fn map(&mut self, dst: Reg, map: RawFd) {
        // `BPF_PSEUDO_MAP_FD` in the place of the source register; the instruction takes two words.
        self.push(0x18, dst, Reg(1), 0, map);
        self.0.push(0);
    }

    /// Calls a function of the kernel.
    pub(super) fn call(&mut self, call: Call) {
        self.push(0x85, R0, R0, 0, call as i32);
    }

    /// Ends the program.
    pub(super) fn exit(&mut self) {
        self.set(R0, 0);
        self.push(0x95, R0, R0, 0, 0);
    }

    /// Jumps if `reg == value`.
    pub(super) fn jump_if_equal(&mut self, reg: Reg, value: i32) -> Jump {
        self.push(0x15, reg, R0, 0, value);
        Jump(self.0.len() - 1)
    }

    /// Jumps if `reg != 0`.
    pub(super) fn jump_unless_zero(&mut self, reg: Reg) -> Jump {
        self.push(0x55, reg, R0, 0, 0);
        Jump(self.0.len() - 1)
    }

    /// Jumps if `a != b`.
    pub(super) fn jump_unless_same(&mut self, a: Reg, b: Reg) -> Jump {
        self.push(0x5d, a, b, 0, 0);
        Jump(self.0.len() - 1)
    }

    /// Jumps if `reg <= value`, both without sign.
    pub(super) fn jump_if_at_most(&mut self, reg: Reg, value: i32) -> Jump {
        self.push(0xb5, reg, R0, 0, value);
        Jump(self.0.len() - 1)
    }

    /// Jumps.
    pub(super) fn jump(&mut self) -> Jump {
        self.push(0x05, R0, R0, 0, 0);
        Jump(self.0.len() - 1)
    }

    /// This is where a jump goes.
    pub(super) fn land(&mut self, jump: Jump) {
        // Programs here are far shorter than a jump can reach.
        let distance = i16::try_from(self.0.len() - jump.0 - 1).unwrap_or(i16::MAX);
        self.0[jump.0] |= u64::from(distance.cast_unsigned()) << 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        let mut code = Code::default();
        code.load_long(R6, R1, 16);
        let jump = code.jump_if_equal(R6, 0);
        code.map(R1, 7);
        code.call(Call::LookUp);
        code.land(jump);
        code.exit();
        let wanted = [
            0x0000_0000_0010_1679,
            0x0000_0000_0003_0615,
            0x0000_0007_0000_1118,
            0,
            0x0000_0001_0000_0085,
            0x0000_0000_0000_00b7,
            0x0000_0000_0000_0095,
        ];
        assert_eq!(code.words(), wanted);
    }
}
