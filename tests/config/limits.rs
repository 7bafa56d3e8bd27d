//! D7: whatever a file holds, it is judged in less than a second and in bounded memory.
//!
//! The program itself is run, so that the time and the memory are those of one
//! file, and a stack that overflows or a loop without end is a failed test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Between looks at a process.
const LOOK: Duration = Duration::from_millis(1);
/// The most memory that `check` may ever take, in KiB.
const MEMORY: u64 = 256 << 10;
/// The largest file that is read at all.
const LARGEST: usize = 8 << 20;

const UPSTREAMS: &str = "upstreams: { t: { url: 'https://t.example.com' } }\n";

/// What `check` says of a file with that content.
fn checked(content: &str) -> String {
    assert!(content.len() <= LARGEST, "that would be refused by its size alone");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("d7.yaml");
    std::fs::write(&path, content).expect("a file");
    let output = run(&path);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {}", output.status, beginning(&said));
    assert!(said.len() < 1 << 20, "{} bytes are more than anybody reads: {}", said.len(), beginning(&said));
    said
}

/// Runs `check` with limits that end it: a test that only measured would wait for ever.
fn run(path: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_tollgate");
    // Seconds of the processor, for a program that was built without optimisation: what is caught here is work
    // that grows with the square of a file. Memory is looked at instead: an allocator reserves what it never touches.
    let limited = "ulimit -t 20; exec \"$0\" check \"$1\"";
    let child = Command::new("sh")
        .args(["-c", limited, program])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let (ended, is_ended) = sync_channel::<()>(1);
    let watcher = std::thread::spawn(move || peak(&status, &is_ended));
    let output = child.wait_with_output().expect("the program ends");
    drop(ended);
    let peak = watcher.join().expect("the watcher ends");
    assert!(peak < MEMORY, "it took {} MiB", peak >> 10);
    output
}

/// The most memory that a process has had by the time it ends, in KiB.
fn peak(status: &Path, is_ended: &Receiver<()>) -> u64 {
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(now.unwrap_or_default());
        if is_ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
            return peak;
        }
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(2_000).collect()
}

fn assert_too_large(content: &str, why: &str) {
    let said = checked(content);
    assert!(said.contains("error[TG0003]") && said.contains(why), "{}", beginning(&said));
}

fn assert_refused(content: &str) -> String {
    let said = checked(content);
    assert!(said.contains("error[TG0"), "{}", beginning(&said));
    said
}

#[test]
fn d7_a_hundred_thousand_levels_are_too_deep() {
    for open in ["[", "{a: ", "- ", "? ", "[{a: ", "- - [", "[? ", "&a [", "!t [", "{[", "{{"] {
        let text = open.repeat(100_000);
        assert_refused(&text);
        assert_refused(&format!("{UPSTREAMS}routes:\n  /x: {text}"));
    }
    let mut text = String::new();
    for level in 0..3_000 {
        let _ = writeln!(text, "{}a:", " ".repeat(level));
    }
    assert_too_large(&text, "nests too deeply");
    let closed = format!("{UPSTREAMS}routes: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_too_large(&closed, "nests too deeply");
}

#[test]
fn d7_an_alias_bomb_is_too_large() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(laughs, "a{level}: &a{level} [{items}]");
    }
    assert_too_large(&laughs, "repeat too much");
    let maps = laughs.replace('[', "{ a: ").replace(']', " }").replace(", *", ", b: *");
    assert_refused(&maps);
}

#[test]
fn d7_long_texts_that_are_repeated_count_by_their_length() {
    let long = "x".repeat(60_000);
    let aliases = "*a, ".repeat(100_000);
    assert_too_large(&format!("a: &a {long}\nb: [{aliases}]\n"), "repeat too much");
    // Text that is short, and long as it is written: what is masked of it is as long as that.
    let folded = format!("token: &a \"x{}y\"\nheaders: {{ b: [{aliases}] }}\n", " \n".repeat(20_000));
    assert_refused(&folded);
}

#[test]
fn d7_a_long_name_above_many_aliases_is_not_copied_for_each() {
    let long = "x".repeat(16_000);
    let aliases = "*a, ".repeat(400_000);
    assert_refused(&format!("a: &a b\nupstreams:\n  {long}:\n    headers: {{ b: [{aliases}] }}\n"));
}

#[test]
fn d7_anchors_inside_anchors_count_as_often_as_they_are_kept() {
    let mut text = "a: ".to_owned();
    for level in 0..60 {
        let _ = write!(text, "&a{level} [");
    }
    text.push_str(&"b, ".repeat(100_000));
    text.push_str(&"]".repeat(60));
    assert_too_large(&text, "repeat too much");
    let many: String = (0..300_000).map(|at| format!("- &a{at} b\n")).collect();
    assert_refused(&many);
}

#[test]
fn d7_a_sparse_file_of_100_mb_is_refused_by_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.yaml");
    std::fs::File::create(&path).expect("a file").set_len(100 << 20).expect("a size");
    let output = run(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error[TG0003]") && said.contains("8 MiB"), "{said}");
}

#[test]
fn d7_files_that_are_included_count_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let comment = format!("# {}\n", "x".repeat(LARGEST - 10));
    for file in 0..5 {
        std::fs::write(folder.path().join(format!("{file}.part.yaml")), &comment).expect("a file");
    }
    let path = folder.path().join("main.yaml");
    std::fs::write(&path, format!("include: ['*.part.yaml']\n{UPSTREAMS}routes: {{ /a: {{ pipe: a }} }}\n"))
        .expect("a file");
    let output = run(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error[TG0003]") && said.contains("together"), "{}", beginning(&said));
}

#[test]
fn d7_a_line_of_megabytes_is_judged_and_not_shown() {
    assert_refused(&"x".repeat(LARGEST));
    assert_refused(&format!("a: \"{}", "x".repeat(LARGEST - 10)));
    assert_refused(&format!("{}: 1", "x".repeat(LARGEST - 10)));
    let keys: String = (0..75_000).map(|at| format!("k{at}: {{ a: 1 }}, ")).collect();
    let said = assert_refused(&format!("{{ {keys} }}"));
    assert!(said.contains("perhaps more"), "{}", beginning(&said));
    assert_refused(&format!("{}\n a: b: c", "@".repeat(LARGEST - 100)));
    assert_refused(&format!("token: {}\n a: [", "@:".repeat(2_000_000)));
}

#[test]
fn d7_a_million_keys_are_too_many() {
    let keys: String = (0..1_000_000).map(|at| format!("{at}:\n")).collect();
    assert_too_large(&keys, "too many values");
    let same = "a: 1\n".repeat(1_000_000);
    assert_refused(&same);
    let routes: String = (0..150_000).map(|at| format!("  /{at}: {{}}\n")).collect();
    assert_refused(&format!("{UPSTREAMS}routes:\n{routes}"));
}

#[test]
fn d7_eight_megabytes_of_items_are_too_many() {
    assert_too_large(&"- a\n".repeat(LARGEST / 4), "too many values");
    assert_refused(&format!("listeners:\n{}", "- a\n".repeat(400_000)));
    assert_refused(&format!("{UPSTREAMS}routes:\n  /a:\n    pipe: a\n    methods:\n{}", "    - a\n".repeat(400_000)));
    assert_refused(&format!("listeners:\n{}", "- { address: '127.0.0.1:0' }\n".repeat(150_000)));
}

#[test]
fn d7_huge_numbers_are_no_numbers() {
    let digits = "9".repeat(60_000);
    for value in
        [digits.clone(), format!("{digits}s"), format!("1e{digits}"), format!("0x{digits}"), format!("-{digits}")]
    {
        assert_refused(&format!("{UPSTREAMS}server: {{ drain: {value}, max_body: {value}, threads: {value} }}\n"));
    }
}

#[test]
fn d7_names_that_are_compared_do_not_multiply() {
    // Each of many upstreams with each of many routes, a wrong name among many, long names that are nearly the same.
    let upstreams: String =
        (0..20_000).map(|at| format!("  u{at}: {{ url: 'https://u{at}.example.com/v0' }}\n")).collect();
    let routes: String = (0..20_000).map(|at| format!("  /r{at}: {{ pipe: p, upstream: u{at} }}\n")).collect();
    checked(&format!("upstreams:\n{upstreams}routes:\n{routes}"));
    assert_refused(&format!("upstreams:\n{upstreams}routes:\n{}", routes.replace("upstream: u", "upstream: w")));
    let long = "u".repeat(15_000);
    assert_refused(&format!(
        "upstreams:\n  {long}: {{ url: 'https://u.example.com' }}\n  b: {{ url: 'https://b.example.com' }}\n\
         routes: {{ /a: {{ pipe: p, upstream: {long}x }} }}\n"
    ));
    let names: String = (0..60_000).map(|at| format!("n{at}, ")).collect();
    let fixed: String = (0..60_000).map(|at| format!("m{at}: x, ")).collect();
    checked(&format!(
        "{UPSTREAMS}routes: {{ /a: {{ pipe: p, params: {{ allow: [{names}], fixed: {{ {fixed} }}, default: {{ {} }} }} }} }}\n",
        fixed.replace('m', "d")
    ));
}

#[test]
fn d7_names_of_limits_do_not_multiply() {
    let limits: String = (0..20_000).map(|at| format!("  l{at}: {{ by: tenant, rate: 1/s }}\n")).collect();
    let plans: String = (0..20_000).map(|at| format!("  p{at}: {{ limits: [l{at}] }}\n")).collect();
    let names: String = (0..20_000).map(|at| format!("l{at}, ")).collect();
    let routes: String = (0..2_000).map(|at| format!("  /r{at}: {{ pipe: p, limits: [l{at}] }}\n")).collect();
    let file = |names: &str| {
        format!("{UPSTREAMS}limits:\n{limits}plans:\n{plans}routes:\n{routes}server: {{ limits: [{names}] }}\n")
    };
    let said = checked(&file(&names));
    assert!(said.contains("warning[TG0221]"), "{}", beginning(&said));
    assert_refused(&file(&names.replace('l', "k")));
    assert_refused(&file(&"l1, ".repeat(200_000)));
    let tenants: String = (0..20_000).map(|at| format!("  t{at}: {{ plan: q{at} }}\n")).collect();
    assert_refused(&format!("{}tenants:\n{tenants}", file("")));
    let hosts: String = (0..5_000).map(|at| format!("  h{at}.example.com: {{ limits: [l{at}] }}\n")).collect();
    checked(&format!("{}hosts:\n{hosts}", file("")));
}

#[test]
fn d7_paths_that_are_compared_do_not_multiply() {
    let route = |path: &str| format!("  \"{path}\": {{ proxy: /x }}\n");
    let tables: [Box<dyn Fn(usize) -> String>; 6] = [
        Box::new(|at| route(&format!("/{{a}}/x{at}")) + &route(&format!("/x{at}/{{b}}"))),
        Box::new(|at| route(&format!("/{{a}}/x{at}")) + &route(&format!("/x{at}/y{{b}}"))),
        Box::new(|at| route(&format!("/r{at:05}-{{a}}"))),
        Box::new(|at| route(&format!("/{{a}}-r{at:05}"))),
        Box::new(|at| route(&format!("/{}{{a}}{}", "p".repeat(at % 90), at))),
        Box::new(|at| route(&format!("/{{a}}/{{b}}/x{at}/*")) + &route(&format!("/x{at}/*"))),
    ];
    for table in tables {
        let routes: String = (0..10_000).map(table).collect();
        checked(&format!("{UPSTREAMS}routes:\n{routes}"));
    }
    assert_refused(&format!("{UPSTREAMS}routes:\n{}", route(&"/a".repeat(8_000))));
}

#[test]
fn d7_hosts_and_their_routes_do_not_multiply() {
    let shared: String = (0..1_000).map(|at| format!("  /r{at}/{{x}}: {{ pipe: p{at} }}\n")).collect();
    let hosts: String = (0..20_000).map(|at| format!("  h{at}.example.com: {{ tenant: h{at} }}\n")).collect();
    let said = checked(&format!("{UPSTREAMS}routes:\n{shared}hosts:\n{hosts}"));
    assert!(said.contains("20000 hosts"), "{}", beginning(&said));
    let own: String = (0..10_000)
        .map(|at| {
            format!(
                "  \"*.h{at}.example.com\": {{ routes: {{ '/{{a}}/x': {{ pipe: p }}, '/x/{{b}}': {{ pipe: q }} }} }}\n"
            )
        })
        .collect();
    checked(&format!("{UPSTREAMS}hosts:\n{own}"));
    let cased: String =
        (0..20_000).map(|at| format!("  H{at}.example.com: {{}}\n  h{at}.Example.com: {{}}\n")).collect();
    assert_refused(&format!("{UPSTREAMS}routes:\n{shared}hosts:\n{cased}"));
}

#[test]
fn what_was_not_compared_is_said() {
    let routes: String = (0..10_000).map(|at| format!("  \"/{{a}}-r{at:05}\": {{ proxy: /x }}\n")).collect();
    let said = checked(&format!("{UPSTREAMS}routes:\n{routes}"));
    assert!(said.contains("warning[TG0206]") && said.contains("not all of them were compared"), "{}", beginning(&said));
}

#[test]
fn all_problems_are_counted_and_the_first_are_shown() {
    let routes: String =
        (0..300).map(|at| format!("  /r{at}: {{ pipe: p{at}, params: {{ fixed: {{ a: yes }} }} }}\n")).collect();
    let said = checked(&format!("{UPSTREAMS}routes:\n{routes}"));
    assert_eq!(said.matches("warning[TG0209]").count(), 100, "{}", beginning(&said));
    assert!(said.contains("There are 201 more; only the first are shown."), "{said}");
    assert!(said.contains("301 warnings"), "{said}");
}
