use super::*;
use bytes::BufMut;

fn agreed(style: Style) -> Agreed {
    let contexts = [(1, "base:allocation"), (2, "x-repd:y")];
    let contexts = contexts.map(|(id, name)| (id, name.to_owned())).into();
    Agreed { style, contexts, export_bytes: 1000, payload_max: 500 }
}

fn header(command: u16, flags: u16, offset: u64, len: u64) -> Header {
    Header { command, flags, offset, len }
}

fn chunk(kind: u16, flags: u16, payload: Vec<u8>) -> RawChunk {
    RawChunk { flags, kind, offset: None, payload: payload.into() }
}

fn none() -> RawChunk {
    chunk(0, FLAG_DONE, Vec::new())
}

fn data(flags: u16, offset: u64, len: usize) -> RawChunk {
    let mut payload = offset.to_be_bytes().to_vec();
    payload.put_bytes(7, len);
    chunk(1, flags, payload)
}

fn hole(offset: u64, len: u32) -> RawChunk {
    chunk(2, 0, [&offset.to_be_bytes()[..], &len.to_be_bytes()].concat())
}

fn status(context: u32, extents: &[(u32, u32)]) -> RawChunk {
    let mut payload = context.to_be_bytes().to_vec();
    for (len, flags) in extents {
        payload.put_u32(*len);
        payload.put_u32(*flags);
    }
    chunk(5, 0, payload)
}

fn wide(context: u32, count: u32, extents: &[(u64, u64)]) -> RawChunk {
    let mut payload = [context.to_be_bytes(), count.to_be_bytes()].concat();
    for (len, flags) in extents {
        payload.put_u64(*len);
        payload.put_u64(*flags);
    }
    chunk(6, 0, payload)
}

fn error(errno: u32, text: &[u8], at: Option<u64>) -> RawChunk {
    let mut payload = errno.to_be_bytes().to_vec();
    payload.put_u16(text.len() as u16);
    payload.put_slice(text);
    if let Some(at) = at {
        payload.put_u64(at);
    }
    chunk(if at.is_some() { 0x8002 } else { 0x8001 }, 0, payload)
}

fn answer(
    style: Style,
    header: Header,
    chunks: Vec<RawChunk>,
) -> Result<(Result<Bytes, u32>, Detail), ClientError> {
    let Header { command, flags, offset, len } = header;
    let mut answer = Answer::to(&Operation::raw(command, flags, offset, len), &agreed(style));
    let last = chunks.len() - 1;
    for (at, chunk) in chunks.into_iter().enumerate() {
        let done = answer.take(chunk, &agreed(style))?;
        assert_eq!(done, at == last, "the last chunk ends it");
    }
    Ok(answer.finish())
}

fn assert_breach(what: &str, style: Style, header: Header, chunks: Vec<RawChunk>) {
    let result = answer(style, header, chunks);
    assert!(matches!(result, Err(ClientError::Protocol(_))), "{what}: {result:?}");
}

const READ: Header = Header { command: 0, flags: 0, offset: 100, len: 20 };

#[test]
fn pieces_of_a_read_come_together_in_any_order() {
    let chunks = vec![data(0, 110, 10), hole(100, 5), data(FLAG_DONE, 105, 5)];
    let (result, detail) = answer(Style::Structured, READ, chunks).unwrap();
    assert_eq!(result.unwrap(), [vec![0; 5], vec![7; 15]].concat());
    assert_eq!(detail.chunks[1], Chunk::Hole { offset: 100, len: 5 });
    let (result, detail) =
        answer(Style::Structured, READ, vec![error(5, b"bad", None), none()]).unwrap();
    assert_eq!((result, &*detail.texts), (Err(5), &["bad".to_owned()][..]));
    let chunks = vec![data(0, 100, 10), error(5, b"", Some(104)), error(5, b"", Some(112)), none()];
    assert_eq!(answer(Style::Structured, READ, chunks).unwrap().0, Err(5));
}

#[test]
fn content_that_breaks_rules_is_a_breach() {
    let breach = |what: &str, chunks| assert_breach(what, Style::Structured, READ, chunks);
    breach("gap", vec![data(0, 100, 10), data(0, 111, 9), none()]);
    breach("overlap", vec![data(0, 100, 10), data(0, 109, 11), none()]);
    breach("twice", vec![data(0, 100, 20), data(0, 100, 20), none()]);
    breach("before", vec![data(0, 99, 20), none()]);
    breach("beyond", vec![data(0, 101, 20), none()]);
    breach("too much", vec![data(0, 100, 21), none()]);
    breach("nothing", vec![data(0, 100, 0), none()]);
    breach("no hole", vec![hole(100, 0), none()]);
    breach("hole at the end of numbers", vec![hole(u64::MAX, 20), none()]);
    breach("long hole", vec![chunk(2, 0, vec![0; 13]), none()]);
    breach("data with an unknown flag", vec![data(2, 100, 20), none()]);
    breach("NONE with data", vec![chunk(0, FLAG_DONE, vec![0])]);
    breach("NONE in the middle", vec![chunk(0, 0, Vec::new()), none()]);
    breach("unknown chunk", vec![chunk(3, 0, Vec::new()), none()]);
    breach("status", vec![status(1, &[(20, 0)]), none()]);
    breach("over an error", vec![error(5, b"", Some(103)), data(0, 100, 20), none()]);
    let df = Header { flags: FLAG_DF, ..READ };
    assert_breach("DF", Style::Structured, df, vec![data(0, 100, 10), data(0, 110, 10), none()]);
    let long = header(0, 0, 0, 600);
    assert_breach("over the limit", Style::Structured, long, vec![data(0, 0, 501), none()]);
    let write = header(1, 0, 100, 20);
    assert_breach("data for a WRITE", Style::Structured, write, vec![data(0, 100, 20), none()]);
    let elsewhere = RawChunk { offset: Some(99), ..data(FLAG_DONE, 100, 20) };
    assert_breach("offset of another request", Style::Extended, READ, vec![elsewhere]);
}

#[test]
fn errors_that_break_rules_are_breaches() {
    let breach = |what: &str, chunks| assert_breach(what, Style::Structured, READ, chunks);
    breach("zero", vec![error(0, b"", None), none()]);
    breach("no number of the protocol", vec![error(22222, b"", None), none()]);
    breach("short", vec![chunk(0x8001, 0, vec![0, 0, 0, 5, 0]), none()]);
    breach("text cut", vec![chunk(0x8001, 0, vec![0, 0, 0, 5, 0, 9, b'x']), none()]);
    breach("long text", vec![error(5, &[b'x'; 4097], None), none()]);
    breach("text with a NUL", vec![error(5, b"a\0", None), none()]);
    breach("two", vec![error(5, b"", None), error(5, b"", None), none()]);
    breach("mixed", vec![error(5, b"", None), error(5, b"", Some(101)), none()]);
    breach("mixed, the other way", vec![error(5, b"", Some(101)), error(5, b"", None), none()]);
    breach("outside", vec![error(5, b"", Some(120)), none()]);
    breach("repeated", vec![error(5, b"", Some(101)), error(5, b"", Some(101)), none()]);
    breach("EOVERFLOW without DF", vec![error(75, b"", None), none()]);
    breach("ENOTSUP for a READ", vec![error(95, b"", None), none()]);
    breach("another error type", vec![chunk(0x8003, 0, vec![0, 0, 0, 5, 0, 0]), none()]);
    let flush = header(3, 0, 0, 0);
    assert_breach("FLUSH", Style::Structured, flush, vec![error(5, b"", Some(0)), none()]);
    let fast = header(6, FLAG_FAST_ZERO, 0, 20);
    assert_eq!(
        answer(Style::Structured, fast, vec![error(95, b"", None), none()]).unwrap().0,
        Err(95)
    );
}

#[test]
fn extents_that_break_rules_are_breaches() {
    let ask = |flags| header(7, flags, 100, 20);
    let both = |one: RawChunk| vec![one, status(2, &[(20, 0)]), none()];
    let breach = |what: &str, one| assert_breach(what, Style::Structured, ask(0), both(one));
    assert!(answer(Style::Structured, ask(0), both(status(1, &[(19, 0), (99, 3)]))).is_ok());
    assert!(answer(Style::Structured, ask(0), both(status(1, &[(5, 0)]))).is_ok());
    breach("length 0", status(1, &[(20, 0), (0, 1)]));
    breach("no extents", status(1, &[]));
    breach("not needed", status(1, &[(20, 0), (5, 1)]));
    breach("beyond the export", status(1, &[(901, 0)]));
    breach("another context", status(3, &[(20, 0)]));
    breach("a context twice", status(2, &[(20, 0)]));
    breach("cut", chunk(5, 0, vec![0, 0, 0, 1, 0, 0, 0, 20]));
    breach("wide", wide(1, 1, &[(20, 0)]));
    let missing = vec![status(1, &[(20, 0)]), none()];
    assert_breach("a context less", Style::Structured, ask(0), missing);
    for extents in [&[(21, 0)][..], &[(10, 0), (5, 1)]] {
        let chunks = both(status(1, extents));
        assert_breach("REQ_ONE", Style::Structured, ask(FLAG_REQ_ONE), chunks);
    }
}

#[test]
fn wide_extents_that_break_rules_are_breaches() {
    let ask = header(7, 0, 100, 20);
    let both = |one: RawChunk| vec![one, wide(2, 1, &[(20, 0)]), none()];
    let breach = |what: &str, one| assert_breach(what, Style::Extended, ask, both(one));
    assert!(answer(Style::Extended, ask, both(wide(1, 2, &[(5, 0), (800, 1)]))).is_ok());
    breach("another count", wide(1, 2, &[(20, 0)]));
    breach("no extents", wide(1, 0, &[]));
    breach("length 0", wide(1, 1, &[(0, 0)]));
    breach("more bits than there are", wide(1, 1, &[(20, 1 << 32)]));
    breach("a sum beyond all numbers", wide(1, 2, &[(u64::MAX, 0), (u64::MAX, 0)]));
    breach("narrow", status(1, &[(20, 0)]));
}

#[test]
fn simple_replies_where_chunks_are_needed_are_breaches() {
    let ok = |header, errno, style| simple(header, errno, style).ok();
    let flush = header(3, 0, 0, 0);
    assert_eq!(ok(READ, 0, Style::Simple), Some(Ok(20)));
    assert_eq!(ok(READ, 22, Style::Simple), Some(Err(22)));
    assert_eq!(ok(flush, 0, Style::Structured), Some(Ok(0)));
    assert_eq!(ok(flush, 5, Style::Structured), Some(Err(5)));
    assert_eq!(ok(header(7, 0, 0, 20), 22, Style::Structured), Some(Err(22)));
    assert_eq!(ok(READ, 0, Style::Structured), None);
    assert_eq!(ok(READ, 22, Style::Structured), None, "not even for an error");
    assert_eq!(ok(header(7, 0, 0, 20), 0, Style::Structured), None);
    assert_eq!(ok(header(7, 0, 0, 20), 0, Style::Simple), None);
    assert_eq!(ok(flush, 0, Style::Extended), None);
    assert_eq!(ok(flush, 4, Style::Simple), None, "no number of the protocol");
    assert_eq!(ok(header(6, 0, 0, 20), 95, Style::Simple), None, "ENOTSUP without FAST_ZERO");
}

#[test]
fn a_status_that_was_filtered_has_what_was_named() {
    let operation = Operation::filtered_status(100, 20, 0, &[2]);
    let take = |chunks: Vec<RawChunk>| -> Result<(), ClientError> {
        let agreed = agreed(Style::Extended);
        let mut answer = Answer::to(&operation, &agreed);
        chunks.into_iter().try_for_each(|chunk| answer.take(chunk, &agreed).map(drop))
    };
    take(vec![wide(2, 1, &[(20, 0)]), none()]).unwrap();
    take(vec![wide(1, 1, &[(20, 0)]), none()]).unwrap_err();
    take(vec![wide(2, 1, &[(20, 0)]), wide(1, 1, &[(20, 0)]), none()]).unwrap_err();
    take(vec![none()]).unwrap_err();
}
