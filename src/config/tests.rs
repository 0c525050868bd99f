//! The command line as a user types it.

use super::*;

fn run(line: &str, environment: &[(&str, &str)]) -> Result<Command, Usage> {
    let environment = environment.iter().map(|&(name, value)| (name.into(), value.into()));
    parse(line.split_whitespace().map(OsString::from), environment)
}

fn settings(line: &str, environment: &[(&str, &str)]) -> Settings {
    match run(line, environment) {
        Ok(Command::Serve(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(line: &str) -> String {
    match run(line, &[]) {
        Ok(Command::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_flag_wins_over_its_variable_which_wins_over_the_default() {
    let environment = [("STEMEDB_BIND_ADDR", "127.0.0.1:2"), ("STEMEDB_LOG", "warn")];
    let settings = settings("--bind-addr 127.0.0.1:1", &environment);
    assert_eq!(settings.bind_addr.port(), 1);
    assert_eq!(settings.log, log::LevelFilter::Warn);
    assert_eq!(settings.rpc_addr.port(), 18182);
}

#[test]
fn flags_take_their_value_in_either_form_and_the_last_one_wins() {
    assert_eq!(settings("serve --data-dir=/a", &[]).data_dir, PathBuf::from("/a"));
    assert_eq!(settings("--data-dir /a --data-dir /b", &[]).data_dir, PathBuf::from("/b"));
}

#[test]
fn switches_stand_alone_or_with_a_word() {
    for (line, expected) in [
        ("--unsafe-skip-signatures", true),
        ("--unsafe-skip-signatures=true", true),
        ("--unsafe-skip-signatures true", true),
        ("--unsafe-skip-signatures no --data-dir /a", false),
        ("--unsafe-skip-signatures --data-dir /a", true),
    ] {
        assert_eq!(settings(line, &[]).skip_signatures, expected, "{line}");
    }
}

#[test]
fn a_likely_slip_in_the_environment_is_a_warning_and_others_are_left_alone() {
    let environment = [
        ("STEMEDB_SEED", "a:1"),
        ("STEMEDB_SERVICE_HOST", "10.0.0.1"),
        ("STEMEDB_PORT", "tcp://10.0.0.1:1"),
        ("HOME", "/root"),
    ];
    let expected = ["STEMEDB_SEED is no setting, did you mean STEMEDB_SEEDS?"];
    assert_eq!(settings("", &environment).warnings, expected);
}

#[test]
fn each_mistake_is_one_line_that_helps() {
    for (line, expected) in [
        ("--seed a:1", "unknown flag --seed, did you mean --seeds?"),
        ("--frobnicate", "unknown flag --frobnicate, stemedb-edge --help lists all"),
        ("-x", "unknown flag -x, stemedb-edge --help lists all"),
        ("imprt f", "unknown command 'imprt', did you mean import?"),
        ("--log info import f", "'import' is a command and comes first: stemedb-edge import ..."),
        ("--data-dir", "missing argument for option '--data-dir'"),
        ("--shards 0", "--shards '0': takes a whole number from 1 to 65536"),
        ("--drain-delay 2h", "--drain-delay '2h': takes 0s to 3600s"),
        ("keygen", "keygen takes the file to make: stemedb-edge keygen FILE"),
        ("keygen a b", "keygen does not take 'b', see stemedb-edge keygen --help"),
        ("check", "check takes a data directory: stemedb-edge check DIR"),
        ("check --fast d", "check does not take --fast, see stemedb-edge check --help"),
        ("import", "import takes a file of lines, or - for the standard input"),
        (
            "put s p",
            "put takes a claim: stemedb-edge put SUBJECT PREDICATE VALUE, or - for a body \
             on the standard input",
        ),
        ("put s p v w", "put does not take 'w', see stemedb-edge put --help"),
        ("put s p x --type number", "the value 'x': takes a number, such as 5 or 0.5"),
        ("put s p x --type blob", "--type 'blob': takes text, number, boolean or reference"),
        ("put s p v --confidence 1}", "--confidence '1}': takes a number, such as 5 or 0.5"),
        ("put - --type text", "put -: what the body has needs no flag"),
        ("put s p v --color red", "put does not take --color, see stemedb-edge put --help"),
        ("get abc", "get takes the hash of an assertion, 64 hex digits"),
        ("get", "get takes the hash of an assertion, 64 hex digits"),
        ("query s", "query does not take 's', see stemedb-edge query --help"),
        ("status --json a:1 b:1", "status does not take 'b:1', see stemedb-edge status --help"),
        ("import a -q", "import does not take -q, see stemedb-edge import --help"),
        ("import a --concurrency 0", "--concurrency '0': takes a whole number from 1 to 128"),
        ("import a --to https://a:1", "--to 'https://a:1': takes http://, this node speaks no TLS"),
    ] {
        let usage = run(line, &[]).expect_err(line);
        assert_eq!(usage.to_string(), expected, "{line}");
    }
}

#[test]
fn api_keys_beyond_this_host_take_a_cluster_key() {
    let auth = "--auth-enabled --root-api-key k";
    for open in ["0.0.0.0:18182", "10.0.0.7:18182", "[::]:18182"] {
        let line = format!("{auth} --rpc-addr {open}");
        let usage = run(&line, &[]).expect_err("a stranger could join").to_string();
        assert_eq!(usage.lines().count(), 1, "{usage}");
        assert!(usage.contains(open) && usage.contains("STEMEDB_CLUSTER_KEY"), "{usage}");
        settings(&format!("{line} --cluster-key c"), &[]);
        settings(&format!("--rpc-addr {open}"), &[]);
    }
    for closed in ["127.0.0.1:18182", "[::1]:1"] {
        settings(&format!("{auth} --rpc-addr {closed}"), &[]);
    }
}

#[test]
fn all_wrong_settings_are_named_at_once() {
    let environment = [("STEMEDB_LOG", "loud"), ("STEMEDB_CLUSTER_KEY", "hush hush")];
    let usage = run("--shards 0", &environment).expect_err("three mistakes").to_string();
    assert_eq!(usage.lines().count(), 3, "{usage}");
    assert!(usage.contains("STEMEDB_LOG='loud': takes error, warn"), "{usage}");
    assert!(usage.contains("STEMEDB_CLUSTER_KEY='***'"), "{usage}");
    assert!(!usage.contains("hush"), "{usage}");
}

#[test]
fn the_other_commands_read_their_arguments() {
    assert_eq!(run("keygen k", &[]), Ok(Command::Keygen { file: "k".into() }));
    assert_eq!(run("check d", &[]), Ok(Command::Check { dir: "d".into() }));
    let import = |line: &str| match run(line, &[]) {
        Ok(Command::Import(import)) => import,
        other => panic!("{line}: {other:?}"),
    };
    let plain = import("import -");
    assert_eq!((plain.file, plain.key, plain.concurrency), (None, None, 8));
    assert_eq!(plain.to.to_string(), "127.0.0.1:18180");
    let full = import("import f --to http://node1:80/ --key k --concurrency 128");
    assert_eq!(full.file, Some("f".into()));
    assert_eq!(full.to.to_string(), "node1:80");
    assert_eq!((full.key, full.concurrency), (Some("k".into()), 128));
}

#[test]
fn requests_read_their_words() {
    let line = "put s p -- -3.5";
    let Ok(Command::Put(put)) = run(line, &[("STEMEDB_ROOT_API_KEY", "k")]) else {
        panic!("{line}");
    };
    let claim = put.claim.expect("a claim");
    assert_eq!((claim.words[2].as_str(), claim.kind), ("-3.5", ObjectKind::Text));
    assert!(put.to.api_key.is_some());
    let line = "put - --key k --to http://a:1/";
    let Ok(Command::Put(put)) = run(line, &[]) else { panic!("{line}") };
    assert_eq!((put.claim, put.key, put.to.at.to_string()), (None, Some("k".into()), "a:1".into()));
    let line = "query --subject a --as-of 5 --new-one=6";
    let Ok(Command::Query(query)) = run(line, &[]) else { panic!("{line}") };
    let pairs: Vec<_> = query.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(pairs, [("subject", "a"), ("as_of", "5"), ("new_one", "6")]);
    let status = |line| match run(line, &[]) {
        Ok(Command::Status(options)) => (options.of.at.to_string(), options.form),
        other => panic!("{other:?}"),
    };
    assert_eq!(status("status"), ("127.0.0.1:18180".to_owned(), StatusForm::Table));
    assert_eq!(status("status --json a:1"), ("a:1".to_owned(), StatusForm::Json));
    assert_eq!(status("status --ready").1, StatusForm::Ready);
}

/// The health check of an image has the variables of its node, and no other way to find it.
#[test]
fn commands_ask_the_node_of_their_environment() {
    for (listens, asked) in [
        ("0.0.0.0:9000", "127.0.0.1:9000"),
        ("[::]:9000", "[::1]:9000"),
        ("192.0.2.7:80", "192.0.2.7:80"),
    ] {
        let environment = [("STEMEDB_BIND_ADDR", listens)];
        for line in ["status --ready", "get 00", "export", "import -"] {
            let at = match run(&line.replace("00", &"0".repeat(64)), &environment) {
                Ok(Command::Status(options)) => options.of.at,
                Ok(Command::Get(get)) => get.from.at,
                Ok(Command::Import(import)) => import.to,
                Ok(Command::Export(Export { from: ExportFrom::Node(node), .. })) => node,
                other => panic!("{other:?}"),
            };
            assert_eq!(at.to_string(), asked, "{line}");
        }
    }
    let wrong = run("status", &[("STEMEDB_BIND_ADDR", "9000")]).expect_err("no address");
    let wrong = wrong.to_string();
    assert!(wrong.contains("STEMEDB_BIND_ADDR='9000': takes an IP address"), "{wrong}");
}

#[test]
fn help_and_version_are_printed_even_among_other_flags() {
    assert!(printed("--shards 0 --help").contains("Usage:"));
    assert!(printed("help").contains("--anti-entropy-interval"));
    assert!(printed("import --help").contains("--concurrency"));
    assert!(printed("check -h").contains("Verifies"));
    assert!(printed("keygen -h").contains("Ed25519"));
    assert_eq!(printed("-V"), concat!("stemedb-edge ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn printed_settings_show_value_and_origin() {
    let environment = [("STEMEDB_SEEDS", "a:1")];
    let Ok(Command::Print(text)) = run("--print-settings --shards 8", &environment) else {
        panic!("settings are printed");
    };
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(line("STEMEDB_SHARDS"), ["STEMEDB_SHARDS", "8", "--shards"]);
    assert_eq!(line("STEMEDB_SEEDS"), ["STEMEDB_SEEDS", "a:1", "environment"]);
    assert_eq!(line("STEMEDB_LOG"), ["STEMEDB_LOG", "info", "default"]);
    assert_eq!(text.lines().count(), SETTINGS.len());
}

#[test]
fn the_page_of_settings_is_the_table() {
    let page = include_str!("../../docs/configuration.md");
    for setting in &SETTINGS {
        let cells = format!("| `{}` | `--{}` |", setting.variable, setting.flag());
        let row = page.lines().find(|line| line.starts_with(&cells)).expect(setting.variable);
        assert!(row.contains(setting.default), "{row}: {}", setting.default);
    }
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |"] {
        assert!(page.contains(code), "{code}");
    }
}
