//! Whether `fencing` can do what it says, with the protocol and the handlers of the resource.

use super::options::Chain;
use crate::diagnostic::Diagnostic;
use crate::model::Fencing;
use crate::options::Section;
use crate::value::Value;

/// What is to be said about the fencing of a resource, if anything.
///
/// The chains are those of its sections `net` and `handlers`.
pub(super) fn check(name: &str, net: &Chain<'_>, handlers: &Chain<'_>) -> Option<Diagnostic> {
    let setting = net.setting("fencing")?;
    let fencing: Fencing = net.word(Section::Net, "fencing");
    if fencing == Fencing::DontCare {
        return None;
    }
    if fencing == Fencing::ResourceAndStonith
        && let Some(protocol) = net.setting("protocol")
        && protocol.value == Value::Text("A".into())
    {
        let text = "`fencing resource-and-stonith` does not go with `protocol A`";
        return Some(
            Diagnostic::error(setting.span, text)
                .related(protocol.span, "the protocol")
                .note(
                    "with protocol A writes are answered that the peer has not got: standing still \
                     when it is lost comes too late for them",
                )
                .help("use `protocol C`, or `fencing resource-only`"),
        );
    }
    if handlers.setting("fence-peer").is_some() {
        return None;
    }
    let follows = match fencing {
        Fencing::ResourceAndStonith => format!(
            "when the peer is lost, I/O of `{name}` stays frozen until the peer is back, or \
             `repadm resume-io {name}`"
        ),
        _ => format!(
            "nobody fences the peer when it is lost, and without it `repadm primary {name}` is \
             refused unless it is known to be Outdated"
        ),
    };
    let text = format!("`fencing {fencing}` without a handler `fence-peer`: {follows}");
    Some(Diagnostic::warning(setting.span, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::options;
    use crate::source::{SourceId, Span};
    use crate::tree::{Setting, Settings};

    const SPAN: Span = Span { source: SourceId(0), start: 0, end: 0 };

    fn settings(section: Section, words: &[(&str, &str)]) -> Settings {
        let setting = |(name, raw): &(&str, &str)| {
            let spec = options::find(section, name).unwrap();
            let value = crate::value::parse(spec, raw).unwrap();
            Setting { spec, value, raw: (*raw).into(), span: SPAN }
        };
        Settings(words.iter().map(setting).collect())
    }

    fn said(net: &[(&str, &str)], handlers: &[(&str, &str)]) -> Option<(Severity, String)> {
        let net = settings(Section::Net, net);
        let handlers = settings(Section::Handlers, handlers);
        check("r0", &Chain::new([Some(&net)]), &Chain::new([Some(&handlers)]))
            .map(|said| (said.severity, said.message))
    }

    #[test]
    fn freezing_does_not_go_with_protocol_a() {
        let handler = [("fence-peer", "/bin/true")];
        let stonith = ("fencing", "resource-and-stonith");
        let (severity, text) = said(&[stonith, ("protocol", "A")], &handler).unwrap();
        assert_eq!(severity, Severity::Error);
        assert!(text.contains("does not go with `protocol A`"), "{text}");
        for protocol in ["B", "C"] {
            assert_eq!(said(&[stonith, ("protocol", protocol)], &handler), None);
        }
        assert_eq!(said(&[("fencing", "resource-only"), ("protocol", "A")], &handler), None);
    }

    #[test]
    fn fencing_needs_somebody_who_fences() {
        for policy in ["resource-only", "resource-and-stonith"] {
            let (severity, text) = said(&[("fencing", policy)], &[]).unwrap();
            assert_eq!(severity, Severity::Warning);
            assert!(text.contains("without a handler `fence-peer`"), "{text}");
            assert_eq!(said(&[("fencing", policy)], &[("outdate-peer", "/bin/true")]), None);
        }
        assert_eq!(said(&[("fencing", "dont-care")], &[]), None);
        assert_eq!(said(&[], &[]), None);
    }
}
