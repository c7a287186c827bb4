//! The system calls that no model needs and that attacks on kernels begin with: they do not exist for it.

use std::collections::BTreeMap;
use std::io;

use nix::sched::CloneFlags;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
    sock_filter,
};

/// Keys, mounts, modules, clocks and the doors to the kernel through which most of its recent holes were reached. Docker's default profile
/// refuses all of them: <https://docs.docker.com/engine/security/seccomp/>. `clone3` hides its flags in memory, so programs are sent to `clone`.
const FORBIDDEN: [libc::c_long; 39] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_clone3,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Kinds of sockets that a network namespace holds, and the kernel's routes, by which libraries find their interfaces. The others are
/// parts of the kernel that few use and many holes were in, and one of them leads past every namespace: a virtual machine's host.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Where the second table of system calls of 64-bit kernels for Intel begins: the same calls under other numbers.
const SECOND_TABLE: u32 = 0x4000_0000;

/// Forbids them to this process and all that it starts, for good.
pub(super) fn forbid() -> io::Result<()> {
    for program in [second_table(), sockets().map_err(io::Error::other)?, calls().map_err(io::Error::other)?] {
        apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn calls() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FORBIDDEN.into_iter().map(|call| (call, Vec::new())).collect();
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        rules.insert(call, vec![makes_a_user_namespace()?]);
    }
    // As if the kernel had been built without them: libraries have a way around that.
    refusing(rules, libc::ENOSYS)
}

/// In a user namespace of its own a process is its root, and reaches parts of the kernel that are meant for root alone.
fn makes_a_user_namespace() -> Result<SeccompRule, BackendError> {
    let flag = u64::from(CloneFlags::CLONE_NEWUSER.bits().unsigned_abs());
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)?])
}

fn sockets() -> Result<BpfProgram, BackendError> {
    let argument = |number, operator, value: libc::c_int| {
        SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, u64::from(value.unsigned_abs()))
    };
    let is_none_of_them = FAMILIES.into_iter().map(|family| argument(0, SeccompCmpOp::Ne, family)).collect::<Result<_, _>>()?;
    let is_netlink_beyond_routes =
        vec![argument(0, SeccompCmpOp::Eq, libc::AF_NETLINK)?, argument(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE)?];
    let rules = vec![SeccompRule::new(is_none_of_them)?, SeccompRule::new(is_netlink_beyond_routes)?];
    refusing([(libc::SYS_socket, rules)].into(), libc::EAFNOSUPPORT)
}

fn refusing(rules: BTreeMap<i64, Vec<SeccompRule>>, with: libc::c_int) -> Result<BpfProgram, BackendError> {
    let refusal = SeccompAction::Errno(with.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refusal, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// A list of what is refused has to know every name: this refuses the whole second table. Four steps: the call's number, which begins the
/// kernel's record of it; a jump by it; and the two answers.
fn second_table() -> BpfProgram {
    let step = |code: u32, on_true, on_false, value| sock_filter {
        code: u16::try_from(code).expect("codes of steps are small"),
        jt: on_true,
        jf: on_false,
        k: value,
    };
    vec![
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, SECOND_TABLE),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}
