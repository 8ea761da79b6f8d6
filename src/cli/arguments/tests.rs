//! Lines as people type them, and what they are compiled to.

use super::*;

fn parse(line: &str) -> Result<Arguments, Ended> {
    Arguments::parse(line.split(' ').map(OsString::from).collect())
}

fn usage(line: &str) -> String {
    match parse(line) {
        Err(Ended::Refused(failure)) => {
            assert_eq!(failure.exit(), Exit::Usage, "{line}");
            failure.to_string()
        }
        Err(Ended::Clap(error)) => {
            assert!(error.use_stderr(), "{line}");
            error.to_string()
        }
        Ok(arguments) => panic!("{line}: {arguments:?}"),
    }
}

#[test]
fn a_revocation_takes_one_target_and_its_words() {
    let arguments =
        parse("portcullis revoke --subject alice --except-session s-1 --reason lost").unwrap();
    let Command::Revoke(revoke) = arguments.command else { panic!() };
    assert_eq!(revoke.target, Target::User("alice".into()));
    assert_eq!(revoke.except, Some(Spared::Session("s-1".into())));
    assert_eq!(revoke.notes.reason.as_deref(), Some("lost"));
    assert!(usage("portcullis revoke --user alice --session s-1").contains("cannot be used with"));
    assert!(usage("portcullis revoke").contains("Whom?"));
    assert!(usage("portcullis revoke --jti a --except-session s-1").contains("nothing to spare"));
}

#[test]
fn a_list_may_be_asked_for_by_that_word() {
    let arguments = parse("portcullis streams list --user alice").unwrap();
    assert!(matches!(arguments.command, Command::Streams(_)));
    let denials = parse("portcullis denials list").unwrap().command;
    assert!(matches!(denials, Command::Denials(Denials::List(_))));
    let one = parse("portcullis denials show dn_1").unwrap().command;
    assert!(matches!(one, Command::Denials(Denials::One(id)) if id == "dn_1"));
    assert!(parse("portcullis registrations get dn_1").is_ok());
    assert!(usage("portcullis status list").contains("list"));
    assert!(usage("portcullis status show").contains("show"));
}

#[test]
fn a_config_that_stands_alone_is_refused_with_where_it_goes() {
    for line in ["check my.toml", "run my.toml", "my.toml"] {
        let text = usage(&format!("portcullis {line}"));
        assert!(text.contains("portcullis -c my.toml check"), "{text}");
    }
    assert!(usage("portcullis check my.jwt").contains("unexpected argument"));
    let arguments = parse("portcullis -c my.toml check").unwrap();
    assert!(matches!(arguments.command, Command::Check(_)));
}

#[test]
fn deny_is_block_and_a_block_may_end_by_itself() {
    for verb in ["block", "deny"] {
        let arguments = parse(&format!("portcullis {verb} --user alice --for 24h")).unwrap();
        let Command::Block(block) = arguments.command else { panic!() };
        assert_eq!(block.lasts, Some(Duration::from_secs(86_400)));
    }
    assert!(usage("portcullis block --user alice --for soon").contains("not a time"));
    assert!(usage("portcullis block --user alice --for 0s").contains("not a time"));
    assert!(usage("portcullis revoke --user alice --for 24h").contains("--for"));
}

#[test]
fn a_bare_name_is_refused_with_what_to_type() {
    let text = usage("portcullis revoke alice");
    assert!(text.contains("portcullis revoke --user alice"), "{text}");
}

#[test]
fn a_token_as_an_argument_is_refused_and_never_repeated() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
    for line in ["explain", "revoke --token", "revoke --token-file", "revoke --user", "nonsense"] {
        let text = usage(&format!("portcullis {line} {token}"));
        assert!(text.contains("other users of this machine can read command lines"), "{text}");
        assert!(!text.contains(token), "{text}");
    }
    assert!(usage("portcullis revoke --token opaque").contains("read command lines"));
}

#[test]
fn undo_has_its_aliases_and_takes_ids_or_the_last() {
    for verb in ["undo", "lift", "unblock"] {
        let arguments = parse(&format!("portcullis {verb} dn_1 dn_2")).unwrap();
        let Command::Undo(undo) = arguments.command else { panic!() };
        assert_eq!(undo.which, Which::Ids(vec!["dn_1".into(), "dn_2".into()]));
    }
    for (verb, blocks) in [("undo", false), ("lift", false), ("unblock", true)] {
        let arguments = parse(&format!("portcullis {verb} --user alice --issuer main")).unwrap();
        let Command::Undo(undo) = arguments.command else { panic!() };
        let (target, issuer) = (Target::User("alice".into()), Some("main".to_owned()));
        let which = Which::Of { target, issuer, blocks_only: blocks, dry_run: false };
        assert_eq!(undo.which, which);
    }
    usage("portcullis undo dn_1 --user alice");
    usage("portcullis undo --user alice --session s-1");
    usage("portcullis undo --last --dry-run");
    let arguments = parse("portcullis undo --last").unwrap();
    let Command::Undo(undo) = arguments.command else { panic!() };
    assert_eq!(undo.which, Which::Last { blocks_only: false });
    let text = usage("portcullis undo alice");
    assert!(text.contains("portcullis undo --user alice"), "{text}");
    usage("portcullis undo");
    usage("portcullis undo --last dn_1");
}

#[test]
fn filters_become_the_words_of_the_api() {
    let line = "portcullis denials --claim tenant=acme --by dana --undone \
                --since 2026-11-20T00:00:00+01:00";
    let arguments = parse(line).unwrap();
    let Command::Denials(Denials::List(list)) = arguments.command else { panic!() };
    let query: Vec<(&str, &str)> = list.query.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(
        query,
        [
            ("created_by", "dana"),
            ("since", "2026-11-19T23:00:00Z"),
            ("claim", "tenant=acme"),
            ("state", "all")
        ]
    );
    assert!(usage("portcullis denials --user a --claim t=b").contains("cannot be used with"));
    assert!(usage("portcullis denials --since yesterday").contains("neither a time"));
    assert!(usage("portcullis denials --claim acme").contains("NAME=VALUE"));
}

#[test]
fn what_is_no_number_or_time_is_said_in_our_words_also_below_zero() {
    for list in ["denials", "audit", "streams", "registrations"] {
        for number in ["x", "0", "-1", "1.5", "99999999999"] {
            let text = usage(&format!("portcullis {list} --limit {number}"));
            assert!(text.contains("a whole number is meant"), "{text}");
        }
        assert!(parse(&format!("portcullis {list} --limit 7")).is_ok());
    }
    assert!(usage("portcullis events --after -1").contains("a whole number is meant"));
    assert!(usage("portcullis block --user a --for -1h").contains("is not a time"));
    assert!(usage("portcullis audit --since -1h").contains("neither a time"));
}

#[test]
fn a_directory_stands_for_its_config_and_a_line_to_paste_finds_the_same_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let shown = directory.path().display().to_string();
    let arguments = parse(&format!("target/release/portcullis -c {shown} status")).unwrap();
    assert_eq!(arguments.global.config, directory.path().join("gateway.toml"));
    assert_eq!(arguments.global.again(), format!("target/release/portcullis -c {shown}"));
    let plain = parse("portcullis status").unwrap();
    assert_eq!(plain.global.again(), "portcullis");
    let after = parse("portcullis status --admin unix:a.sock --json -q").unwrap();
    assert_eq!(after.global.again(), "portcullis --admin unix:a.sock");
    assert!(after.global.json && after.global.quiet);
}

#[test]
fn clap_finds_the_definitions_sound() {
    use clap::CommandFactory as _;
    Raw::command().debug_assert();
}

#[test]
fn the_written_help_names_every_command_and_every_command_has_examples() {
    use clap::CommandFactory as _;
    let help = crate::cli::help::TOP;
    for command in Raw::command().get_subcommands() {
        let name = command.get_name();
        assert!(help.contains(&format!("\n  {name} ")), "{name} is not in the help");
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.contains(&format!("portcullis {name}")), "{name} has no example");
    }
}
