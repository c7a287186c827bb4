//! What the walls keep apart, tried with real processes behind each kind that this machine allows.

use std::fs;
use std::net::{Ipv4Addr, TcpListener as StdTcpListener};

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::*;

const MIB: u64 = 1 << 20;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A runner's home with a project, and one kind of walls.
struct Bed {
    sandbox: Sandbox,
    home: TempDir,
}

impl Bed {
    fn launch(&self, script: &str) -> Launch {
        Launch {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".to_owned(), PATH.to_owned())],
            project: self.home.path().join("project"),
            read_only: Vec::new(),
            scratch: self.home.path().join("scratch"),
            memory_bytes_max: 256 * MIB,
            scratch_bytes_max: 64 * MIB,
            gpus: Vec::new(),
            seat: 7,
            doors: self.sandbox.doors().unwrap(),
            hears: false,
        }
    }

    async fn start(&self, script: &str) -> Confined {
        self.sandbox.launch(self.launch(script)).await.unwrap()
    }

    /// What the script prints until it ends.
    async fn run(&self, script: &str) -> (Exit, String) {
        let confined = self.start(script).await;
        let said = read(&confined).await;
        (confined.exited().await, said)
    }
}

async fn read(confined: &Confined) -> String {
    let (mut out, mut err) = confined.take_output().unwrap();
    let (mut said, mut complaints) = (String::new(), String::new());
    tokio::try_join!(out.read_to_string(&mut said), err.read_to_string(&mut complaints)).unwrap();
    said + &complaints
}

/// The next line, while the process runs on.
async fn read_line(out: &mut ChildStdout) -> String {
    let mut line = Vec::new();
    while let Ok(byte) = out.read_u8().await {
        if byte == b'\n' {
            break;
        }
        line.push(byte);
    }
    String::from_utf8(line).unwrap()
}

/// Cargo builds it with the tests, but not when a test is named on the command line: then `cargo build --examples` comes first.
fn launcher() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/confine")
}

/// One bed for each kind of walls that this machine allows; a plain process is always among them.
async fn beds() -> Vec<Bed> {
    let mut beds = Vec::new();
    let fenced = Sandbox::behind(Walls::None, &launcher(), Cgroups::none()).can_be_fenced().await.unwrap();
    for walls in [Walls::OwnUser, Walls::SameUser, Walls::None] {
        let cgroups = if walls == Walls::OwnUser { Cgroups::find() } else { Cgroups::none() };
        let mut sandbox = Sandbox::behind(walls, &launcher(), cgroups);
        sandbox.fenced = fenced;
        match sandbox.try_out().await.unwrap() {
            Ok(()) => {
                let home = tempfile::tempdir().unwrap();
                fs::create_dir(home.path().join("project")).unwrap();
                beds.push(Bed { sandbox, home });
            }
            Err(error) => assert_ne!(walls, Walls::None, "{}", chain(&error)),
        }
    }
    beds
}

async fn walled_beds() -> Vec<Bed> {
    let mut beds = beds().await;
    beds.retain(|bed| bed.sandbox.walls != Walls::None);
    beds
}

#[tokio::test]
async fn a_program_ends_with_its_own_code_and_its_output_is_heard() {
    for bed in beds().await {
        assert_eq!(bed.run("echo here; echo there >&2; exit 3").await, (Exit(3), "here\nthere\n".to_owned()));
        let killed = bed.run("kill -9 $$").await.0;
        assert_eq!((killed, killed.to_string()), (Exit(137), "ended by SIGKILL".to_owned()));
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_that_names_it() {
    for bed in beds().await {
        let mut launch = bed.launch("");
        launch.argv = vec!["/no/such/program".to_owned()];
        let error = chain(&bed.sandbox.launch(launch).await.unwrap_err());
        assert!(error.contains("/no/such/program"), "{error}");
    }
}

#[tokio::test]
async fn a_program_hears_what_the_runner_says_and_answers() {
    for bed in beds().await {
        let mut launch = bed.launch("read word; echo \"$word\" >&0");
        launch.hears = true;
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let mut voice = confined.take_voice().unwrap();
        let said = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            voice.write_all(b"hello\n").unwrap();
            let mut said = String::new();
            voice.read_to_string(&mut said).unwrap();
            said
        });
        assert_eq!((said.await.unwrap().as_str(), confined.exited().await), ("hello\n", Exit(0)));
        assert!(confined.take_voice().is_none() && bed.start(":").await.take_voice().is_none());
    }
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_nothing_else() {
    for bed in beds().await {
        let mut launch = bed.launch("");
        launch.argv = vec!["/usr/bin/env".to_owned()];
        launch.env = vec![("GIVEN".to_owned(), "1".to_owned()), ("HOME".to_owned(), "/elsewhere".to_owned())];
        let port = launch.doors.port();
        let home = bed.sandbox.walls.scratch_inside(&launch.scratch);
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let said = read(&confined).await;
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        let home = home.display();
        assert_eq!(lines, ["GIVEN=1".to_owned(), format!("HOME={home}"), format!("PORT={port}"), format!("TMPDIR={home}")]);
    }
}

#[tokio::test]
async fn a_confined_process_sees_only_its_own_processes() {
    for bed in walled_beds().await {
        let (_, said) = bed.run("cd /proc && echo [0-9]*").await;
        assert_eq!(said, "1 2\n");
    }
}

#[tokio::test]
async fn a_confined_process_does_not_reach_the_hosts_loopback() {
    let host = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = host.local_addr().unwrap().port();
    let script = format!("exec perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(\"127.0.0.1:{port}\") ? \"in\" : \"out\"'");
    for bed in beds().await {
        let expected = if bed.sandbox.walls == Walls::None { "in" } else { "out" };
        assert_eq!(bed.run(&script).await.1, expected);
    }
}

#[tokio::test]
async fn a_confined_process_reads_neither_the_home_nor_another_scratch_nor_the_machine() {
    for bed in walled_beds().await {
        fs::write(bed.home.path().join("secret"), "s").unwrap();
        fs::create_dir(bed.home.path().join("other")).unwrap();
        fs::write(bed.home.path().join("other/secret"), "s").unwrap();
        let home = bed.home.path().display();
        let (_, said) = bed.run(&format!("cat {home}/secret {home}/other/secret /etc/shadow /etc/hostname; ls {home}; ls /")).await;
        assert_eq!(said.matches("No such file").count(), 4, "{said}");
        let seen: Vec<&str> = said.lines().filter(|line| !line.contains("No such file")).collect();
        let system = ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "tmp", "usr"];
        assert!(seen.iter().all(|name| *name == "project" || system.contains(name)), "{said}");
    }
}

#[tokio::test]
async fn a_confined_process_writes_only_to_its_scratch() {
    for bed in walled_beds().await {
        let venv = bed.home.path().join("venv");
        fs::create_dir(&venv).unwrap();
        let mut launch =
            bed.launch(&format!("touch here {0}/x /x /usr/x /etc/x /dev/x /sys/x; echo kept > /tmp/y; echo $HOME", venv.display()));
        launch.read_only = vec![venv];
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let said = read(&confined).await;
        assert_eq!(said.matches("touch: cannot touch").count(), 7, "{said}");
        assert!(said.ends_with("/tmp\n") || said.starts_with("/tmp\n"), "{said}");
        assert_eq!(fs::read_to_string(bed.home.path().join("scratch/y")).unwrap(), "kept\n");
    }
}

#[tokio::test]
async fn a_fence_holds_files_where_there_are_no_walls() {
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(outside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(outside.path().join("secret"), "precious\n").unwrap();
    for bed in beds().await.into_iter().filter(|bed| bed.sandbox.fenced) {
        let there = outside.path().display();
        let (_, said) = bed.run(&format!("cat {there}/secret; echo > {there}/new; echo kept > $HOME/own && cat $HOME/own")).await;
        assert!(!said.contains("precious") && said.contains("kept\n"), "{said}");
        assert!(!outside.path().join("new").exists());
    }
}

#[tokio::test]
async fn no_file_grows_beyond_what_an_instance_may_write_and_all_together_are_counted() {
    for bed in beds().await {
        let confined = bed.start("cd $HOME; for n in 1 2; do head -c 200M /dev/zero > $n; done; echo full; exec sleep 600").await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "full");
        let (bytes, bytes_max) = (confined.disk_bytes().unwrap(), confined.disk_bytes_max());
        assert!(bytes_max < bytes && bytes <= 2 * bytes_max + MIB, "{bytes}");
    }
}

#[tokio::test]
async fn kinds_of_sockets_that_lead_past_the_walls_are_not_made() {
    for bed in beds().await {
        let script = "exec perl -MSocket -e 'for ([40, 1, 0], [38, 5, 0], [16, 3, 12], [16, 3, 0], [2, 1, 0]) { print socket($s, $_->[0], $_->[1], $_->[2]) ? 1 : 0 }'";
        assert_eq!(bed.run(script).await.1, "00011", "{:?}", bed.sandbox.walls);
    }
}

#[tokio::test]
async fn a_confined_process_has_no_power_left() {
    for bed in walled_beds().await {
        let (_, said) = bed.run("id -u; grep -E '^(CapPrm|CapEff|CapAmb):' /proc/self/status; mount -t tmpfs x /tmp && echo mounted").await;
        assert!(said.starts_with("200007\n"), "{said}");
        assert_eq!(said.matches("0000000000000000").count(), 3, "{said}");
        assert!(!said.contains("mounted"), "{said}");
    }
}

#[tokio::test]
async fn no_process_gains_a_privilege_or_makes_a_user_namespace() {
    for bed in beds().await {
        let (_, said) = bed.run("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; unshare --user true && echo made").await;
        assert!(said.starts_with("NoNewPrivs:\t1\nSeccomp:\t2\n") && !said.contains("made"), "{said}");
    }
}

#[tokio::test]
async fn seats_are_users_of_their_own_where_root_makes_the_walls() {
    use std::os::unix::fs::MetadataExt;
    for bed in walled_beds().await {
        bed.run(": > /tmp/x").await;
        let owner = fs::metadata(bed.home.path().join("scratch/x")).unwrap().uid();
        let expected = if bed.sandbox.walls == Walls::OwnUser { 200_007 } else { nix::unistd::geteuid().as_raw() };
        assert_eq!(owner, expected);
    }
}

/// A server that answers each connection with a line and its own name for the port.
const SERVER: &str = r#"exec perl -MIO::Socket::INET -e '
    $| = 1;
    $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$ENV{PORT}", Listen => 8, ReuseAddr => 1) or die $!;
    print "ready\n";
    while ($c = $s->accept) { print $c "hello\n"; close $c }'"#;

#[tokio::test]
async fn the_runner_connects_to_the_models_port() {
    for bed in beds().await {
        let confined = bed.start(SERVER).await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "ready");
        for _ in 0..3 {
            let mut said = String::new();
            confined.connect().await.unwrap().read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "hello\n");
        }
        confined.kill_all().await;
        assert!(confined.connect().await.is_err());
    }
}

#[tokio::test]
async fn a_connection_that_nobody_waited_for_does_not_answer_the_next_call() {
    for bed in beds().await {
        let confined = bed.start(SERVER).await;
        let mut given_up = Box::pin(confined.connect());
        assert!(futures::poll!(&mut given_up).is_pending());
        drop(given_up);
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "ready");
        let mut said = String::new();
        confined.connect().await.unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello\n");
    }
}

#[tokio::test]
async fn a_port_that_is_not_open_yet_is_refused_and_the_line_goes_on() {
    for bed in beds().await {
        let confined = bed.start("exec sleep 600").await;
        assert!(confined.connect().await.is_err());
        assert!(confined.connect().await.is_err());
        confined.kill_all().await;
    }
}

#[tokio::test]
async fn the_model_reaches_the_runners_listener() {
    for bed in beds().await {
        let doors = bed.sandbox.doors().unwrap();
        let to = doors.runner();
        let script = format!("exec perl -MIO::Socket::INET -e '$c = IO::Socket::INET->new(\"{to}\") or die $!; print $c \"file\"'");
        let mut launch = bed.launch(&script);
        launch.doors = doors;
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let (listener, address) = confined.listen().unwrap();
        assert_eq!(address, to);
        let mut said = String::new();
        listener.accept().await.unwrap().0.read_to_string(&mut said).await.unwrap();
        assert_eq!((said.as_str(), confined.exited().await), ("file", Exit(0)));
        assert!(confined.listen().is_err());
    }
}

/// Leaves a grandchild in a session of its own, which holds a lock as long as it lives.
const GRANDCHILD: &str = r#"exec perl -MPOSIX -MFcntl=:flock -e '
    $| = 1;
    unless (fork) { POSIX::setsid(); exit 0 if fork; open $f, ">", "$ENV{HOME}/lock"; flock $f, LOCK_EX; print "held\n"; sleep 600 }
    wait; sleep 600'"#;

#[tokio::test]
async fn killing_ends_grandchildren_that_left_their_session() {
    for bed in beds().await {
        let confined = bed.start(GRANDCHILD).await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "held");
        let lock = fs::File::open(bed.home.path().join("scratch/lock")).unwrap();
        assert!(lock.try_lock().is_err());
        confined.kill_all().await;
        lock.try_lock().unwrap();
        assert_eq!(confined.exited().await, Exit::KILLED);
    }
}

/// For what must not come: it would have come in a hundredth of this.
const SILENCE: Duration = Duration::from_millis(300);

/// A grandchild in a session of its own says back what it hears.
const ECHO: &str = "exec 3<&0; setsid sh -c 'while read word; do echo \"$word\"; done' <&3 & wait";

#[tokio::test]
async fn a_model_that_is_stopped_does_nothing_until_it_goes_on() {
    for bed in beds().await {
        let mut launch = bed.launch(ECHO);
        launch.hears = true;
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let (mut voice, (mut out, _err)) = (confined.take_voice().unwrap(), confined.take_output().unwrap());
        let mut say = |word: &[u8]| io::Write::write_all(&mut voice, word).unwrap();
        say(b"before\n");
        assert_eq!(read_line(&mut out).await, "before");
        confined.stop().await.unwrap();
        say(b"after\n");
        assert!(timeout(SILENCE, out.read_u8()).await.is_err(), "{:?}", bed.sandbox.walls);
        confined.go_on().await.unwrap();
        assert_eq!(read_line(&mut out).await, "after");
    }
}

#[tokio::test]
async fn a_model_that_is_stopped_is_ended_as_any_other_and_gives_its_memory_back_before() {
    for bed in beds().await {
        let confined = bed.start(GRANDCHILD).await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "held");
        confined.stop().await.unwrap();
        confined.page_out().unwrap();
        let lock = fs::File::open(bed.home.path().join("scratch/lock")).unwrap();
        timeout(confined::END_WAIT, confined.kill_all()).await.unwrap();
        lock.try_lock().unwrap();
    }
}

#[tokio::test]
async fn what_a_model_left_running_ends_with_it() {
    for bed in beds().await {
        let confined = bed.start("(trap '' HUP TERM; exec sleep 600) & exit 4").await;
        let said = read(&confined).await; // To the end: nobody holds the pipe any more.
        assert_eq!((said.as_str(), confined.exited().await), ("", Exit(4)));
    }
}

#[tokio::test]
async fn a_model_ends_when_its_runner_drops_it() {
    for bed in beds().await {
        let confined = bed.start(GRANDCHILD).await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "held");
        drop(confined);
        assert_eq!(out.read(&mut [0; 1]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_memory_bomb_is_told_apart_from_a_crash() {
    for bed in beds().await {
        let mut launch = bed.launch("head -c 1G /dev/zero | tail > /dev/null && echo survived");
        launch.memory_bytes_max = 64 * MIB;
        let confined = bed.sandbox.launch(launch).await.unwrap();
        let said = read(&confined).await;
        assert!(!said.contains("survived"), "{said}");
        confined.exited().await;
        assert_eq!(confined.ended_by_oom(), bed.sandbox.cgroups.limit_memory(), "{:?}", bed.sandbox.walls);
        assert!(!bed.start("exit 1").await.ended_by_oom());
    }
}

#[tokio::test]
async fn the_memory_of_an_instance_is_counted_where_a_group_counts_it() {
    for bed in beds().await.into_iter().filter(|bed| bed.sandbox.cgroups.limit_memory()) {
        let confined = bed.start("exec perl -e '$| = 1; $x = \"x\" x (40 << 20); print \"full\\n\"; sleep 600'").await;
        let (mut out, _err) = confined.take_output().unwrap();
        assert_eq!(read_line(&mut out).await, "full");
        let bytes = confined.resident_bytes().unwrap();
        assert!((40 * MIB..200 * MIB).contains(&bytes), "{bytes}");
    }
}

#[tokio::test]
async fn a_scratch_is_removed_with_all_that_the_model_put_there() {
    for bed in beds().await {
        bed.run("cd $HOME && mkdir -p deep/er && : > deep/er/file && ln -s /usr link").await;
        let scratch = bed.home.path().join("scratch");
        wipe(&scratch).await.unwrap();
        assert!(!scratch.exists() && Path::new("/usr/bin").exists());
        wipe(&scratch).await.unwrap();
    }
}

#[tokio::test]
async fn strict_refuses_what_auto_takes() {
    let auto = Sandbox::probe(IsolationWish::Auto, &launcher()).await.unwrap();
    let strict = Sandbox::probe(IsolationWish::Strict, &launcher()).await;
    assert_eq!(strict.is_ok(), auto.walls != Walls::None && auto.cgroups.limit_memory() && auto.fenced);
    let off = Sandbox::probe(IsolationWish::Off, &launcher()).await.unwrap();
    assert!(off.describe().starts_with("none: "));
    assert!(matches!(Sandbox::probe(IsolationWish::Off, Path::new("/no/such/launcher")).await, Err(IsolationError::Nothing(_))));
}
