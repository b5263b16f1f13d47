// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the command line says of itself and of what is wrong, kept as snapshots: a change is seen and meant.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

fn portway(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
    command.args(arguments).env_remove("PORTWAY_SOCKET").env("COLUMNS", "100");
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn help() {
    for command in [
        "",
        "show",
        "bridge",
        "bridge add",
        "bridge del",
        "bridge list",
        "bridge fdb",
        "port",
        "port add",
        "port del",
        "port list",
        "port stats",
        "flow",
        "flow list",
        "flow add",
        "flow del",
        "module",
        "module list",
        "module load",
        "module unload",
        "capture",
        "drops",
        "wrap",
        "reload",
        "completion",
        "man",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = portway(&arguments);
        assert!(output.status.success(), "{command}");
        let name = if command.is_empty() { "portway".to_owned() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(format!("help-{name}"), said(&output));
    }
}

#[test]
fn mistakes_are_named_and_end_with_2() {
    let cases: &[&[&str]] = &[
        &[],
        &["brige", "list"],
        &["bridge", "add"],
        &["bridge", "add", "br0", "--aging", "0"],
        &["port", "add", "br0", "p1", "--access", "4095"],
        &["port", "add", "br0", "p1", "--access", "1", "--native", "2"],
        &["port", "add", "br0", "p1", "-o", "rx"],
        &["flow", "del", "br0"],
        &["flow", "del", "br0", "in_port(1)", "--all"],
    ];
    let mut all = String::new();
    for arguments in cases {
        let output = portway(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        all.push_str(&format!("$ portway {}\n{}\n", arguments.join(" "), said(&output)));
    }
    insta::assert_snapshot!("mistakes", all);
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let socket = socket.to_str().unwrap();
    let output = portway(&["--socket", socket, "show"]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output).replace(socket, "SOCKET");
    insta::assert_snapshot!("no-daemon", text);
    let output = portway(&["--socket", socket, "--json", "show"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(json["error"]["remedy"].as_str().unwrap().contains("systemctl start portwayd"));
    assert!(output.stdout.is_empty());
}

#[test]
fn replies_are_shown_as_text_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = r#"{"ok":{"fdb":[{"vlan":0,"mac":"02:00:00:00:00:01","port":"veth1","port_no":1,"age_s":3,"held":false},{"vlan":10,"mac":"02:00:00:00:00:02","port":"a","port_no":12,"age_s":300,"held":true}]}}"#;
    let refusal = r#"{"error":{"kind":"not-found","message":"there is no bridge \"br1\"","remedy":"bridges are: br0"}}"#;
    let server = std::thread::spawn(move || {
        for answer in [answer, answer, refusal, refusal] {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert_eq!(line, "{\"request\":\"bridge-fdb\",\"with\":{\"name\":\"br1\"}}\n");
            stream.get_mut().write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    });
    let socket = socket.to_str().unwrap();
    let ask = |flags: &[&str]| portway(&[flags, &["--socket", socket, "bridge", "fdb", "br1"]].concat());
    let all = [ask(&[]), ask(&["--json"]), ask(&[]), ask(&["--json"])]
        .map(|output| format!("exit {}\n{}", output.status.code().unwrap(), said(&output)));
    server.join().unwrap();
    insta::assert_snapshot!("replies", all.join("\n"));
}

#[test]
fn completion_and_man_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let output = portway(&["completion", shell]);
        assert!(output.status.success() && said(&output).contains("capture"), "{shell}");
    }
    let page = said(&portway(&["man"]));
    assert!(page.contains(".TH portway 8") && page.contains("completion"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    assert!(portway(&["man", folder.path().to_str().unwrap()]).status.success());
    for page in ["portway.8", "portway-port.8", "portway-port-add.8", "portway-capture.8"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(&format!(".TH {} 8", page.trim_end_matches(".8"))), "{page}: {text}");
    }
}
