//! What is agreed on besides an export: the form of replies, meta contexts, TLS.

use super::*;
use crate::context::Context;

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
fn context_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut put = |text: &str| {
        data.put_u32(text.len() as u32);
        data.extend_from_slice(text.as_bytes());
    };
    put(name);
    let mut all = Vec::new();
    all.put_u32(queries.len() as u32);
    data.extend_from_slice(&all);
    for query in queries {
        data.put_u32(query.len() as u32);
        data.extend_from_slice(query.as_bytes());
    }
    data
}

fn only(wanted: Context) -> Contexts {
    Contexts::only(|context| context == wanted)
}

impl Session {
    /// Sends an option and expects its ACK alone.
    fn agree(&mut self, option: u32) {
        assert!(matches!(self.send(option, b""), Turn::Answered));
        assert_eq!(self.replies(), [Reply { option, kind: reply::ACK, data: vec![] }]);
    }

    /// Sends an option about contexts and gives those that are named in answer, with their numbers.
    fn contexts(&mut self, option: u32, name: &str, queries: &[&str]) -> Vec<(u32, String)> {
        assert!(matches!(self.send(option, &context_data(name, queries)), Turn::Answered));
        let mut replies = self.replies();
        let ack = replies.pop().expect("an ACK");
        assert_eq!(ack, Reply { option, kind: reply::ACK, data: vec![] });
        let named = replies.into_iter().map(|reply| {
            assert_eq!((reply.option, reply.kind), (option, reply::META_CONTEXT));
            let mut data = &reply.data[..];
            (data.get_u32(), String::from_utf8(data.to_vec()).expect("text"))
        });
        named.collect()
    }

    fn go(&mut self, name: &str) -> Terms {
        match self.send(number::GO, &info_data(name.as_bytes(), &[])) {
            Turn::Done(terms) => terms,
            turn => panic!("{turn:?}"),
        }
    }
}

#[test]
fn replies_are_as_agreed() {
    let agreed = |options: &[u32]| {
        let mut session = Session::new(FIXED);
        options.iter().for_each(|option| session.agree(*option));
        session.go("r0").replies
    };
    let (structured, extended) = (number::STRUCTURED_REPLY, number::EXTENDED_HEADERS);
    assert_eq!(agreed(&[]), Replies::Simple);
    assert_eq!(agreed(&[structured]), Replies::Structured);
    assert_eq!(agreed(&[structured, structured]), Replies::Structured);
    assert_eq!(agreed(&[extended]), Replies::Extended);
    assert_eq!(agreed(&[structured, extended]), Replies::Extended);
}

#[test]
fn extended_headers_are_for_good() {
    let mut session = Session::new(FIXED);
    session.agree(number::EXTENDED_HEADERS);
    session.refused(number::STRUCTURED_REPLY, b"", reply::ERR_EXT_HEADER_REQD);
    session.refused(number::EXTENDED_HEADERS, b"", reply::ERR_INVALID);
    let error = closes(session.send(number::EXPORT_NAME, b"r0"));
    assert!(error.to_string().contains("GO"), "{error}");
}

#[test]
fn forms_of_replies_take_no_data() {
    for option in [number::STRUCTURED_REPLY, number::EXTENDED_HEADERS] {
        let mut session = Session::new(FIXED);
        session.refused(option, b"x", reply::ERR_INVALID);
        session.assert_in_step();
        assert_eq!(session.go("r0").replies, Replies::Simple);
    }
}

#[test]
fn flags_go_with_what_was_agreed() {
    let flags = |session: &mut Session, option| {
        session.send(option, &info_data(b"r0", &[]));
        let data = session.replies().swap_remove(0).data;
        u16::from_be_bytes(data[10..].try_into().expect("two bytes"))
    };
    let mut session = Session::new(FIXED);
    assert_eq!(flags(&mut session, number::INFO), FLAGS);
    session.agree(number::STRUCTURED_REPLY);
    assert_eq!(flags(&mut session, number::INFO), FLAGS | 0x80);
    session.agree(number::EXTENDED_HEADERS);
    assert_eq!(flags(&mut session, number::INFO), FLAGS | 0x80, "nothing is selected");
    session.contexts(number::SET_META_CONTEXT, "r0", &["base:allocation"]);
    assert_eq!(flags(&mut session, number::INFO), FLAGS | 0x1080);
    assert_eq!(flags(&mut session, number::GO), FLAGS | 0x1080, "GO says what INFO says");

    let mut session = Session::new(FIXED | NO_ZEROES);
    session.agree(number::STRUCTURED_REPLY);
    assert!(matches!(session.send(number::EXPORT_NAME, b"r0"), Turn::Done(_)));
    assert_eq!(session.output[8..], (FLAGS | 0x80).to_be_bytes());
}

#[test]
fn contexts_are_listed_whole_or_by_namespace() {
    let mut session = Session::new(FIXED);
    session.agree(number::STRUCTURED_REPLY);
    let mut listed = |queries: &[&str]| {
        let found = session.contexts(number::LIST_META_CONTEXT, "r0", queries);
        assert!(found.iter().all(|(id, _)| *id == 0), "a list gives no numbers: {found:?}");
        found.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["base:allocation", "x-repd:out-of-sync"]);
    assert_eq!(listed(&["base:"]), ["base:allocation"]);
    assert_eq!(listed(&["x-repd:", "base:allocation"]).len(), 2);
    assert_eq!(listed(&["x-repd:out-of-sync", "x-repd:"]), ["x-repd:out-of-sync"]);
    assert!(listed(&["qemu:", "nonsense", "", "base:nothing"]).is_empty());
    // A list selects nothing.
    assert!(session.go("r0").contexts.is_empty());
}

#[test]
fn contexts_are_selected_by_their_names_for_one_export() {
    let both = ["x-repd:out-of-sync", "qemu:dirty-bitmap:x", "base:allocation"];
    let mut session = Session::new(FIXED);
    session.agree(number::EXTENDED_HEADERS);
    let selected = session.contexts(number::SET_META_CONTEXT, "r0", &both);
    let named = [(1, "base:allocation".to_owned()), (2, "x-repd:out-of-sync".to_owned())];
    assert_eq!(selected, named);
    assert!(session.contexts(number::SET_META_CONTEXT, "r0", &["base:"]).is_empty(), "no wildcard");
    session.contexts(number::SET_META_CONTEXT, "r0", &both);
    assert_eq!(session.go("r0").contexts, Contexts::ALL);

    for (then, expected) in [
        // The last one counts, and only for the name that it was for.
        (context_data("r0", &["x-repd:out-of-sync"]), only(Context::OutOfSync)),
        (context_data("r0/0", &["base:allocation"]), Contexts::default()),
        (context_data("r0", &[]), Contexts::default()),
        // One that fails leaves nothing.
        (context_data("nothing", &["base:allocation"]), Contexts::default()),
        (vec![0], Contexts::default()),
    ] {
        let mut session = Session::new(FIXED);
        session.agree(number::STRUCTURED_REPLY);
        session.contexts(number::SET_META_CONTEXT, "r0", &["base:allocation"]);
        session.send(number::SET_META_CONTEXT, &then);
        session.replies();
        assert_eq!(session.go("r0").contexts, expected, "{then:?}");
    }
}

#[test]
fn contexts_need_chunks_and_an_export() {
    for option in [number::LIST_META_CONTEXT, number::SET_META_CONTEXT] {
        let mut session = Session::new(FIXED);
        let data = context_data("r0", &["base:allocation"]);
        let text = session.refused(option, &data, reply::ERR_INVALID);
        assert!(text.contains("STRUCTURED_REPLY"), "{text}");
        session.agree(number::STRUCTURED_REPLY);
        session.refused(option, &context_data("nothing", &[]), reply::ERR_UNKNOWN);
        session.refused(option, &context_data("secondary", &[]), reply::ERR_POLICY);
        session.assert_in_step();
    }
}

#[test]
fn malformed_context_options_are_invalid_and_stay_in_step() {
    let good = context_data("r0", &["base:allocation", "x"]);
    let mut many = context_data("r0", &[]);
    many[6..].fill(0xff);
    let mut long_query = context_data("r0", &["base:allocation"]);
    long_query[10..14].fill(0xff);
    for data in [
        &b""[..],
        &good[..good.len() - 1],
        &[&good[..], &[0]].concat(),
        &many,
        &long_query,
        &context_data("r0", &[&"x".repeat(NAME_MAX + 1)]),
        &context_data("r0", &["a\0b"]),
        &context_data(&"x".repeat(NAME_MAX + 1), &[]),
    ] {
        let mut session = Session::new(FIXED);
        session.agree(number::STRUCTURED_REPLY);
        for option in [number::LIST_META_CONTEXT, number::SET_META_CONTEXT] {
            session.refused(option, data, reply::ERR_INVALID);
        }
        session.assert_in_step();
    }
}

#[test]
fn tls_begins_where_it_is_offered() {
    for tls in [Tls::Allowed, Tls::Required] {
        let mut session = Session::with_tls(FIXED, tls);
        session.refused(number::STARTTLS, b"x", reply::ERR_INVALID);
        assert!(matches!(session.send(number::STARTTLS, b""), Turn::StartTls));
        assert_eq!(session.replies()[0].kind, reply::ACK);
        session.machine.tls_begun();
        session.refused(number::STARTTLS, b"", reply::ERR_INVALID);
        session.assert_in_step();
        session.go("r0");
    }
    let mut session = Session::new(FIXED);
    session.refused(number::STARTTLS, b"", reply::ERR_POLICY);
    session.refused(number::STARTTLS, b"x", reply::ERR_INVALID);
}

#[test]
fn where_tls_is_required_nothing_is_said_in_the_clear() {
    let mut session = Session::with_tls(FIXED, Tls::Required);
    for name in ["r0", "nothing", "secondary"] {
        for option in [number::INFO, number::GO] {
            let text = session.refused(option, &info_data(name.as_bytes(), &[]), reply::ERR_TLS_REQD);
            assert!(!text.contains(name), "{text}");
        }
    }
    for option in [number::LIST, number::STRUCTURED_REPLY, number::SET_META_CONTEXT, 4, 77] {
        session.refused(option, b"", reply::ERR_TLS_REQD);
    }
    assert!(matches!(closes(session.send(number::ABORT, b"")), NegotiationError::Aborted));
    for name in ["r0", "nothing"] {
        let mut session = Session::with_tls(FIXED, Tls::Required);
        let error = closes(session.send(number::EXPORT_NAME, name.as_bytes()));
        assert!(matches!(error, NegotiationError::Refused { .. }), "{error}");
        assert!(session.output.is_empty());
    }
}

/// CVE-2021-3716 of nbdkit.
#[test]
fn what_was_agreed_in_the_clear_is_forgotten_within_tls() {
    let mut session = Session::with_tls(FIXED, Tls::Allowed);
    session.agree(number::EXTENDED_HEADERS);
    session.contexts(number::SET_META_CONTEXT, "r0", &["base:allocation"]);
    session.send(number::STARTTLS, b"");
    session.machine.tls_begun();
    assert_eq!(session.go("r0"), Terms::simple(export()));
}

#[test]
fn bytes_in_the_clear_behind_starttls_end_the_connection() {
    let mut session = Session::with_tls(FIXED, Tls::Allowed);
    session.input.extend_from_slice(&option_bytes(number::STARTTLS, b""));
    session.input.extend_from_slice(&option_bytes(number::GO, &info_data(b"r0", &[])));
    let error = closes(session.advance());
    assert!(error.to_string().contains("behind STARTTLS"), "{error}");
    assert!(session.output.is_empty());
}
