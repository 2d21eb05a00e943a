//! The two programs in the kernel: at each exec they note what was started and by whom, at each fork that the child is
//! for now what its parent is. Nobody is woken by them.

use super::btf::{Member, Offsets};
use super::code::{Call, Code, R0, R1, R2, R3, R4, R6, R7, R8, R9, Reg, STACK};
use super::note;

/// What must be known of the kernel's structures.
pub(super) const MEMBERS: [Member; 20] = [
    ("task_struct", "pid"),
    ("task_struct", "tgid"),
    ("task_struct", "start_boottime"),
    ("task_struct", "real_parent"),
    ("task_struct", "group_leader"),
    ("task_struct", "cred"),
    ("task_struct", "comm"),
    ("task_struct", "mm"),
    ("task_struct", "nsproxy"),
    ("task_struct", "loginuid"),
    ("task_struct", "sessionid"),
    ("cred", "uid"),
    ("cred", "euid"),
    ("nsproxy", "pid_ns_for_children"),
    ("pid_namespace", "ns"),
    ("ns_common", "inum"),
    ("mm_struct", "arg_start"),
    ("mm_struct", "arg_end"),
    ("linux_binprm", "filename"),
    ("linux_binprm", "interp"),
];

/// The maps the programs work with, by descriptor.
#[derive(Clone, Copy)]
pub(super) struct Maps {
    /// Notes by process.
    pub notes: i32,
    /// Two notes a processor: one to write in, one that stays empty.
    pub desk: i32,
}

/// A kernel that is missing something the programs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this kernel has no `{}` in its `{}`", .0.1, .0.0)]
pub(super) struct Missing(Member);

/// Places on the stack.
const INDEX: i16 = -4;
const POINTER: i16 = -16;
const END: i16 = -24;
const KEY: i16 = -40;
const OLD_KEY: i16 = -48;
const PID: i16 = -52;
const TGID: i16 = -56;

/// The program at `sched_process_exec(task, old pid, binprm)`.
pub(super) fn at_exec(offsets: &Offsets, maps: Maps) -> Result<Code, Missing> {
    let mut p = Program { code: Code::default(), offsets };
    let c = &mut p.code;
    c.sum(R6, R1, 0);
    let end = desk(c, maps, 0);
    c.sum(R7, R0, 0);
    c.load_long(R8, R6, 0);
    c.load_long(R9, R6, 16);
    c.put_long(R7, note::IS_FORK, 0);
    p.who()?;
    p.text_of("linux_binprm", "filename", note::FILE, note::TEXT)?;
    p.text_of("linux_binprm", "interp", note::INTERPRETER, note::TEXT)?;
    p.arguments()?;
    let c = &mut p.code;
    c.load_word(R1, R7, note::PID);
    c.store_long(STACK, KEY, R1);
    // What this process was before stays at hand: it may have been the one that made the change.
    look_up(c, maps.notes, KEY);
    let is_first = c.jump_if_equal(R0, 0);
    c.load_long(R1, R0, note::STARTED);
    c.load_long(R2, R7, note::STARTED);
    let is_other = c.jump_unless_same(R1, R2);
    c.load_word(R1, R7, note::PID);
    c.store_long(STACK, OLD_KEY, R1);
    c.put_word(STACK, OLD_KEY + note::BEFORE_AT, 1);
    c.sum(R3, R0, 0);
    update(c, maps.notes, OLD_KEY);
    c.land(is_first);
    c.land(is_other);
    c.sum(R3, R7, 0);
    update(c, maps.notes, KEY);
    c.land(end);
    c.exit();
    Ok(p.code)
}

/// The program at `sched_process_fork(parent, child)`.
pub(super) fn at_fork(offsets: &Offsets, maps: Maps) -> Result<Code, Missing> {
    let mut p = Program { code: Code::default(), offsets };
    p.code.load_long(R8, R1, 8);
    // A thread is no process of its own.
    p.read_into_stack(PID, 4, R8, ("task_struct", "pid"))?;
    p.read_into_stack(TGID, 4, R8, ("task_struct", "tgid"))?;
    let c = &mut p.code;
    c.load_word(R1, STACK, PID);
    c.load_word(R2, STACK, TGID);
    let is_thread = c.jump_unless_same(R1, R2);
    let end = desk(c, maps, 0);
    c.sum(R7, R0, 0);
    c.call(Call::CurrentPidTgid);
    c.shift_right(R0, 32);
    c.store_long(STACK, KEY, R0);
    look_up(c, maps.notes, KEY);
    let is_unknown = c.jump_if_equal(R0, 0);
    c.sum(R9, R0, 0);
    let found = c.jump();
    c.land(is_unknown);
    let nothing = desk(c, maps, 1);
    c.sum(R9, R0, 0);
    c.land(found);
    c.sum(R1, R7, 0);
    c.set(R2, note::SIZE);
    c.sum(R3, R9, 0);
    c.call(Call::ReadKernel);
    c.put_long(R7, note::IS_FORK, 1);
    p.who()?;
    let c = &mut p.code;
    c.load_word(R1, R7, note::PID);
    c.store_long(STACK, KEY, R1);
    c.sum(R3, R7, 0);
    update(c, maps.notes, KEY);
    c.land(is_thread);
    c.land(end);
    c.land(nothing);
    c.exit();
    Ok(p.code)
}

/// A program under construction. `R7` is the note that is written, `R8` the task it is about.
struct Program<'a> {
    code: Code,
    offsets: &'a Offsets,
}

impl Program<'_> {
    /// Who the task is: what is the same for an exec and a fork.
    fn who(&mut self) -> Result<(), Missing> {
        self.code.call(Call::TimeSinceBoot);
        self.code.store_long(R7, note::SINCE, R0);
        self.code.call(Call::CurrentCgroup);
        self.code.store_long(R7, note::CGROUP, R0);
        self.read(note::STARTED, 8, R8, ("task_struct", "start_boottime"))?;
        self.read(note::PID, 4, R8, ("task_struct", "tgid"))?;
        self.read(note::NAME, note::NAME_SIZE, R8, ("task_struct", "comm"))?;
        self.follow(R8, ("task_struct", "real_parent"))?;
        self.follow_on(("task_struct", "group_leader"))?;
        self.read_there(note::PARENT, 4, ("task_struct", "tgid"))?;
        self.read_there(note::PARENT_STARTED, 8, ("task_struct", "start_boottime"))?;
        self.follow(R8, ("task_struct", "cred"))?;
        self.read_there(note::UID, 4, ("cred", "uid"))?;
        self.read_there(note::EUID, 4, ("cred", "euid"))?;
        self.audit(note::LOGIN, "loginuid")?;
        self.audit(note::SESSION, "sessionid")?;
        self.follow(R8, ("task_struct", "nsproxy"))?;
        self.follow_on(("nsproxy", "pid_ns_for_children"))?;
        let within = self.offset(("ns_common", "inum"))?;
        self.read_there_at(note::NAMESPACE, 4, self.offset(("pid_namespace", "ns"))? + within);
        Ok(())
    }

    /// A number that kernels without audit don't have.
    fn audit(&mut self, to: i16, member: &'static str) -> Result<(), Missing> {
        match self.offsets.of("task_struct", member) {
            Some(_) => self.read(to, 4, R8, ("task_struct", member)),
            None => {
                self.code.put_word(R7, to, -1);
                Ok(())
            }
        }
    }

    /// The text behind a pointer in the structure that `R9` points to.
    fn text_of(&mut self, of: &'static str, member: &'static str, to: i16, size: i32) -> Result<(), Missing> {
        self.follow(R9, (of, member))?;
        let c = &mut self.code;
        c.sum(R1, R7, to.into());
        c.set(R2, size);
        c.load_long(R3, STACK, POINTER);
        c.call(Call::ReadKernelText);
        Ok(())
    }

    /// The beginning of the arguments, which lie in the memory of the process.
    fn arguments(&mut self) -> Result<(), Missing> {
        self.follow(R8, ("task_struct", "mm"))?;
        let (start, end) = (("mm_struct", "arg_start"), ("mm_struct", "arg_end"));
        self.pointer_at(END, self.offset(end)?);
        self.follow_on(start)?;
        let c = &mut self.code;
        c.put_word(R7, note::ARGUMENTS_LENGTH, 0);
        c.load_long(R2, STACK, END);
        c.load_long(R3, STACK, POINTER);
        c.subtract(R2, R3);
        let fits = c.jump_if_at_most(R2, note::ARGUMENTS_SIZE);
        c.set(R2, note::ARGUMENTS_SIZE);
        c.land(fits);
        c.store_long(STACK, END, R2);
        c.sum(R1, R7, note::ARGUMENTS.into());
        c.call(Call::ReadUser);
        let failed = c.jump_unless_zero(R0);
        c.load_long(R1, STACK, END);
        c.store_word(R7, note::ARGUMENTS_LENGTH, R1);
        c.land(failed);
        Ok(())
    }

    fn offset(&self, member: Member) -> Result<i32, Missing> {
        self.offsets.of(member.0, member.1).ok_or(Missing(member))
    }

    /// Reads a member of what `from` points to into the note.
    fn read(&mut self, to: i16, size: i32, from: Reg, member: Member) -> Result<(), Missing> {
        let offset = self.offset(member)?;
        let c = &mut self.code;
        c.sum(R1, R7, to.into());
        c.set(R2, size);
        c.sum(R3, from, offset);
        c.call(Call::ReadKernel);
        Ok(())
    }

    fn read_into_stack(&mut self, to: i16, size: i32, from: Reg, member: Member) -> Result<(), Missing> {
        let offset = self.offset(member)?;
        let c = &mut self.code;
        c.sum(R1, STACK, to.into());
        c.set(R2, size);
        c.sum(R3, from, offset);
        c.call(Call::ReadKernel);
        Ok(())
    }

    /// Takes up a pointer.
    fn follow(&mut self, from: Reg, member: Member) -> Result<(), Missing> {
        self.read_into_stack(POINTER, 8, from, member)
    }

    /// Takes up a pointer in what the last one points to.
    fn follow_on(&mut self, member: Member) -> Result<(), Missing> {
        let offset = self.offset(member)?;
        self.pointer_at(POINTER, offset);
        Ok(())
    }

    fn pointer_at(&mut self, to: i16, offset: i32) {
        let c = &mut self.code;
        c.load_long(R3, STACK, POINTER);
        c.sum(R3, R3, offset);
        c.sum(R1, STACK, to.into());
        c.set(R2, 8);
        c.call(Call::ReadKernel);
    }

    /// Reads a member of what the last pointer points to into the note.
    fn read_there(&mut self, to: i16, size: i32, member: Member) -> Result<(), Missing> {
        let offset = self.offset(member)?;
        self.read_there_at(to, size, offset);
        Ok(())
    }

    fn read_there_at(&mut self, to: i16, size: i32, offset: i32) {
        let c = &mut self.code;
        c.sum(R1, R7, to.into());
        c.set(R2, size);
        c.load_long(R3, STACK, POINTER);
        c.sum(R3, R3, offset);
        c.call(Call::ReadKernel);
    }
}

/// `R0` is a note of this processor. The kernel wants to be asked whether it is there.
fn desk(c: &mut Code, maps: Maps, index: i32) -> super::code::Jump {
    c.put_word(STACK, INDEX, index);
    c.sum(R2, STACK, INDEX.into());
    c.map(R1, maps.desk);
    c.call(Call::LookUp);
    c.jump_if_equal(R0, 0)
}

fn look_up(c: &mut Code, map: i32, key: i16) {
    c.map(R1, map);
    c.sum(R2, STACK, key.into());
    c.call(Call::LookUp);
}

/// Puts what `R3` points to under a key.
fn update(c: &mut Code, map: i32, key: i16) {
    c.map(R1, map);
    c.sum(R2, STACK, key.into());
    c.set(R4, 0);
    c.call(Call::Update);
}
