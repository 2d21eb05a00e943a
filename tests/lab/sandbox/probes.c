/* Tries to get out of the sandbox it is run in, one probe a line: NAME, then `refused ERRNO` or `DONE`. Static: it needs
 * nothing that the sandbox might lack. `probes PLACE PID`: PLACE is a folder that it may write at best, PID another
 * process of another user. No probe does harm where it works. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/fsuid.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static char place[256];
static pid_t other;

static int done(long result) { return result < 0 ? -1 : 0; }
static int opens(const char *path, int flags) {
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd >= 0) close(fd);
	return fd < 0 ? -1 : 0;
}
static int reads(const char *path) {
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return -1;
	int result = read(fd, &byte, 1) == 1 ? 0 : -1;
	close(fd);
	return result;
}
static int creates(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return -1;
	int result = write(fd, "x", 1) == 1 ? 0 : -1;
	close(fd);
	unlink(path);
	return result;
}
static const char *of(const char *what) {
	static char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", other, what);
	return path;
}
static int sockets(int family, int type, int protocol) {
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fd >= 0) close(fd);
	return fd < 0 ? -1 : 0;
}
static int connects_to(const char *path) {
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	socklen_t length = sizeof name;
	strncpy(name.sun_path, path, sizeof name.sun_path - 1);
	if (path[0] == '@') {
		name.sun_path[0] = 0;
		length = offsetof(struct sockaddr_un, sun_path) + strlen(path);
	}
	int result = connect(fd, (struct sockaddr *)&name, length);
	close(fd);
	return result;
}
static int connects(const char *address, int port) {
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
	inet_pton(AF_INET, address, &name.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	int result = connect(fd, (struct sockaddr *)&name, sizeof name);
	close(fd);
	return result;
}
/* What may not come back is tried in a child, whose exit tells. */
static int in_child(int (*attempt)(void)) {
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0) return -1;
	if (pid == 0) _exit(attempt() == 0 ? 0 : (errno & 127 ? errno & 127 : 1));
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
	return -1;
}
static int execs(const char *path, char *argument) {
	char *argv[] = { (char *)path, argument, NULL }, *env[] = { NULL };
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) { dup2(null, 0); dup2(null, 1); dup2(null, 2); }
	execve(path, argv, env);
	return -1;
}

#define PROBE(name, ...) static int name(void) { __VA_ARGS__ }
#define CHILD(name, ...) static int name##_(void) { __VA_ARGS__ } static int name(void) { return in_child(name##_); }

PROBE(read_shadow, return reads("/etc/shadow");)
PROBE(read_gshadow, return reads("/etc/gshadow");)
PROBE(read_private, return reads("/etc/private");)
PROBE(read_settings, return reads("/etc/agentd/agent.toml");)
PROBE(read_record, return reads("/var/lib/agentd/secret");)
PROBE(read_root_home, return reads("/root/secret");)
PROBE(read_home, return reads("/home/open");)
PROBE(read_tmp, return reads("/tmp/open");)
PROBE(read_var_tmp, return reads("/var/tmp/open");)
PROBE(read_shm, return reads("/dev/shm/open");)
PROBE(read_run, return reads("/run/open");)
PROBE(list_keys, return opens("/run/agentd-workers/keys/planted", O_RDONLY);)
PROBE(read_memory_of_host, return reads("/proc/meminfo");)
PROBE(read_environ_of_other, return reads(of("environ"));)
PROBE(read_command_of_other, return reads(of("cmdline"));)
PROBE(read_memory_of_other, return opens(of("mem"), O_RDWR);)
PROBE(read_files_of_other, return opens(of("root/etc/hostname"), O_RDONLY);)
PROBE(read_first_process, return reads("/proc/1/status");)
PROBE(write_etc, return creates("/etc/escaped");)
PROBE(write_usr, return creates("/usr/escaped");)
PROBE(write_var, return creates("/var/lib/escaped");)
PROBE(write_state, return creates("/var/lib/agentd/escaped");)
PROBE(write_run, return creates("/run/escaped");)
PROBE(write_tmp, return creates("/tmp/escaped");)
PROBE(write_var_tmp, return creates("/var/tmp/escaped");)
PROBE(write_shm, return creates("/dev/shm/escaped");)
PROBE(write_home, return creates("/home/escaped");)
PROBE(write_program, return opens("/usr/bin/true", O_RDWR);)
PROBE(write_cgroup, int r = mkdir("/sys/fs/cgroup/escaped", 0755); if (!r) rmdir("/sys/fs/cgroup/escaped"); return r;)
PROBE(write_sysctl, return opens("/proc/sys/net/ipv4/ip_forward", O_WRONLY);)
PROBE(write_store, char p[300]; snprintf(p, sizeof p, "%s/escaped", place); return creates(p);)
PROBE(remove_file, return unlink("/var/lib/removable");)
PROBE(link_shadow, char p[300]; snprintf(p, sizeof p, "%s/shadow", place); int r = link("/etc/shadow", p); if (!r) unlink(p); return r;)
PROBE(make_device, char p[300]; snprintf(p, sizeof p, "%s/device", place); int r = mknod(p, S_IFCHR | 0600, makedev(1, 3)); if (!r) unlink(p); return r;)
PROBE(make_setuid, int fd = memfd_create("x", MFD_CLOEXEC); int r = fd < 0 ? -1 : fchmod(fd, 04755); if (fd >= 0) close(fd); return r;)
PROBE(give_away, int fd = memfd_create("x", MFD_CLOEXEC); int r = fd < 0 ? -1 : fchown(fd, 12345, 12345); if (fd >= 0) close(fd); return r;)
PROBE(handle_open, struct { struct file_handle h; char b[128]; } f; memset(&f, 0, sizeof f); f.h.handle_bytes = 128; int m; if (name_to_handle_at(AT_FDCWD, "/dev/shm", &f.h, &m, 0)) return -1; int d = open("/dev/shm", O_RDONLY | O_DIRECTORY); int fd = open_by_handle_at(d, &f.h, O_RDONLY); int e = errno; close(d); errno = e; return done(fd);)
PROBE(connect_bus, return connects_to("/run/dbus/system_bus_socket");)
PROBE(connect_manager, return connects_to("/run/systemd/private");)
PROBE(connect_agent, return connects_to("/run/agentd/control.sock");)
PROBE(connect_fetch, return connects_to("/run/agentd-workers/fetch");)
PROBE(connect_compile, return connects_to("/run/agentd-workers/compile");)
PROBE(connect_journal, return connects_to("/run/systemd/journal/stdout");)
PROBE(connect_abstract, return connects_to("@agentd-lab");)
PROBE(connect_tcp, return connects("127.0.0.1", 22);)
PROBE(socket_inet, return sockets(AF_INET, SOCK_DGRAM, 0);)
PROBE(socket_inet6, return sockets(AF_INET6, SOCK_STREAM, 0);)
PROBE(socket_unix, return sockets(AF_UNIX, SOCK_DGRAM, 0);)
PROBE(socket_netlink, return sockets(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);)
PROBE(socket_packet, return sockets(AF_PACKET, SOCK_RAW, 0);)
PROBE(socket_raw, return sockets(AF_INET, SOCK_RAW, IPPROTO_ICMP);)
PROBE(socket_raw6, return sockets(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);)
PROBE(signal_other, return kill(other, 0);)
PROBE(signal_first, return kill(1, 0);)
PROBE(trace_other, int r = ptrace(PTRACE_SEIZE, other, 0, 0); if (!r) { int s; ptrace(PTRACE_INTERRUPT, other, 0, 0); waitpid(other, &s, __WALL); ptrace(PTRACE_DETACH, other, 0, 0); } return r;)
PROBE(peek_other, char b; long at = 0; FILE *f = fopen(of("maps"), "r"); if (!f) return -1; if (fscanf(f, "%lx", &at) != 1) at = 0; fclose(f); struct iovec l = { &b, 1 }, r = { (void *)at, 1 }; return done(process_vm_readv(other, &l, 1, &r, 1, 0));)
PROBE(take_descriptor, int p = syscall(SYS_pidfd_open, other, 0); if (p < 0) return -1; int fd = syscall(SYS_pidfd_getfd, p, 0, 0); int e = errno; close(p); if (fd >= 0) close(fd); errno = e; return done(fd);)
PROBE(priority_of_other, return setpriority(PRIO_PROCESS, other, 5);)
CHILD(become_root, return setresuid(0, 0, 0);)
CHILD(change_user, return setuid(12345);)
CHILD(change_group, return setgid(12345);)
CHILD(change_groups, gid_t g = 0; return setgroups(1, &g);)
CHILD(drop_root, return chroot("/usr");)
CHILD(new_user_namespace, return unshare(CLONE_NEWUSER);)
CHILD(new_mount_namespace, return unshare(CLONE_NEWNS);)
CHILD(new_network_namespace, return unshare(CLONE_NEWNET);)
CHILD(new_process_namespace, return unshare(CLONE_NEWPID);)
CHILD(new_name_namespace, return unshare(CLONE_NEWUTS);)
CHILD(enter_namespace, int fd = open("/proc/1/ns/mnt", O_RDONLY); return fd < 0 ? -1 : setns(fd, CLONE_NEWNS);)
CHILD(mount_tmpfs, return mount("none", "/usr", "tmpfs", MS_RDONLY, "size=4k") || umount("/usr") ? -1 : 0;)
CHILD(mount_bind, return mount("/usr", "/usr", 0, MS_BIND, 0) || umount("/usr") ? -1 : 0;)
CHILD(load_bpf, union bpf_attr a; memset(&a, 0, sizeof a); a.map_type = BPF_MAP_TYPE_HASH; a.key_size = a.value_size = 4; a.max_entries = 1; return done(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));)
CHILD(count_events, struct perf_event_attr a; memset(&a, 0, sizeof a); a.type = PERF_TYPE_SOFTWARE; a.size = sizeof a; a.config = PERF_COUNT_SW_CPU_CLOCK; return done(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));)
CHILD(add_key, return done(syscall(SYS_add_key, "user", "agentd-lab", "x", 1, -1));)
CHILD(read_keyring, return done(syscall(SYS_keyctl, 0, -4, 1));)
CHILD(catch_faults, return done(syscall(SYS_userfaultfd, 0));)
CHILD(ring, struct io_uring_params p; memset(&p, 0, sizeof p); return done(syscall(SYS_io_uring_setup, 1, &p));)
CHILD(personality_change, return done(personality(ADDR_NO_RANDOMIZE));)
CHILD(map_writable_code, void *m = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); return m == MAP_FAILED ? -1 : 0;)
CHILD(make_code, void *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); return m == MAP_FAILED ? -1 : mprotect(m, 4096, PROT_READ | PROT_EXEC);)
CHILD(run_shell, return execs("/bin/sh", NULL);)
CHILD(run_true, return execs("/usr/bin/true", NULL);)
CHILD(run_setuid, return execs("/usr/bin/su", "--version");)
CHILD(run_perl, return execs("/usr/bin/perl", "-v");)
CHILD(run_made, int fd = memfd_create("x", 0); int me = open("/proc/self/exe", O_RDONLY); char b[65536]; ssize_t n; if (fd < 0 || me < 0) return -1; while ((n = read(me, b, sizeof b)) > 0) if (write(fd, b, n) != n) return -1; close(1); char *v[] = { "x", "exit", NULL }, *e[] = { NULL }; return syscall(SYS_execveat, fd, "", v, e, AT_EMPTY_PATH);)
CHILD(real_time, struct sched_param p = { .sched_priority = 1 }; return sched_setscheduler(0, SCHED_FIFO, &p);)
CHILD(be_first, return setpriority(PRIO_PROCESS, 0, -5);)
CHILD(raise_limit, struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY }; return setrlimit(RLIMIT_CORE, &l);)
CHILD(lock_memory, return mlockall(MCL_CURRENT);)
CHILD(name_host, char n[65]; if (gethostname(n, sizeof n)) return -1; return sethostname(n, strlen(n));)
CHILD(kernel_log, return done(klogctl(10, 0, 0));)
CHILD(watch_files, return done(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY));)
CHILD(shared_memory, return done(shmget(0x61676c62, 0, 0));)
CHILD(message_queue, return done(msgget(0x61676c62, 0));)
CHILD(semaphores, return done(semget(0x61676c62, 0, 0));)
CHILD(compare_other, return done(syscall(SYS_kcmp, getpid(), other, 0, 0, 0));)
CHILD(set_file_user, setfsuid(0); return setfsuid(-1) == 0 ? 0 : (errno = EPERM, -1);)

#define EACH(x) { #x, x }
static const struct { const char *name; int (*attempt)(void); } probes[] = {
	EACH(read_shadow), EACH(read_gshadow), EACH(read_private), EACH(read_settings), EACH(read_record),
	EACH(read_root_home), EACH(read_home), EACH(read_tmp), EACH(read_var_tmp), EACH(read_shm), EACH(read_run),
	EACH(list_keys), EACH(read_memory_of_host), EACH(read_environ_of_other),
	EACH(read_command_of_other), EACH(read_memory_of_other), EACH(read_files_of_other), EACH(read_first_process),
	EACH(write_etc), EACH(write_usr), EACH(write_var), EACH(write_state), EACH(write_run), EACH(write_tmp),
	EACH(write_var_tmp), EACH(write_shm), EACH(write_home), EACH(write_program), EACH(write_cgroup),
	EACH(write_sysctl), EACH(write_store), EACH(remove_file), EACH(link_shadow), EACH(make_device),
	EACH(make_setuid), EACH(give_away), EACH(handle_open), EACH(connect_bus), EACH(connect_manager),
	EACH(connect_agent), EACH(connect_fetch), EACH(connect_compile), EACH(connect_journal), EACH(connect_abstract),
	EACH(connect_tcp), EACH(socket_inet), EACH(socket_inet6), EACH(socket_unix), EACH(socket_netlink),
	EACH(socket_packet), EACH(socket_raw), EACH(socket_raw6), EACH(signal_other), EACH(signal_first),
	EACH(trace_other), EACH(peek_other), EACH(take_descriptor), EACH(priority_of_other), EACH(become_root),
	EACH(change_user), EACH(change_group), EACH(change_groups), EACH(drop_root), EACH(new_user_namespace),
	EACH(new_mount_namespace), EACH(new_network_namespace), EACH(new_process_namespace), EACH(new_name_namespace),
	EACH(enter_namespace), EACH(mount_tmpfs), EACH(mount_bind), EACH(load_bpf), EACH(count_events), EACH(add_key),
	EACH(read_keyring), EACH(catch_faults), EACH(ring), EACH(personality_change), EACH(map_writable_code),
	EACH(make_code), EACH(run_shell), EACH(run_true), EACH(run_setuid), EACH(run_perl), EACH(run_made),
	EACH(real_time), EACH(be_first), EACH(raise_limit), EACH(lock_memory), EACH(name_host), EACH(kernel_log),
	EACH(watch_files), EACH(shared_memory), EACH(message_queue), EACH(semaphores), EACH(compare_other),
	EACH(set_file_user),
};

int main(int argc, char **argv) {
	if (argc == 2) return 0;
	if (argc != 3) return 2;
	snprintf(place, sizeof place, "%s", argv[1]);
	other = atoi(argv[2]);
	for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
		errno = 0;
		if (probes[i].attempt() == 0) printf("%s DONE\n", probes[i].name);
		else printf("%s refused %s\n", probes[i].name, strerrorname_np(errno) ? strerrorname_np(errno) : "?");
		fflush(stdout);
	}
	return 0;
}
