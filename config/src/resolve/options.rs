//! Typed values of option sections: what is set nearest, else the default of the option table.

use crate::model::{
    BecomePrimary, Digest, DiskOptions, NbdSection, Net, ResourceOptions, Secret, Startup,
};
use crate::options::{self, Scale, Section};
use crate::tree::{Setting, Settings};
use crate::value::{self, Value};
use std::collections::BTreeMap;
use std::str::FromStr;
use types::{Protocol, Span};

/// Settings from the most specific to the most general.
pub(super) struct Chain<'a>(Vec<&'a Settings>);

impl<'a> Chain<'a> {
    pub(super) fn new(levels: impl IntoIterator<Item = Option<&'a Settings>>) -> Self {
        Self(levels.into_iter().flatten().collect())
    }

    /// The nearest setting of that name.
    pub(super) fn setting(&self, name: &str) -> Option<&'a Setting> {
        self.0.iter().find_map(|settings| settings.get(name))
    }

    /// The nearest value, else the default.
    fn value(&self, section: Section, name: &str) -> Option<Value> {
        if let Some(setting) = self.setting(name) {
            return Some(setting.value.clone());
        }
        let spec = options::find(section, name).expect("only options of the table are asked for");
        let default = (!spec.default.is_empty()).then_some(spec.default)?;
        Some(value::parse(spec, default).expect("a test checks every default of the table"))
    }

    pub(super) fn flag(&self, section: Section, name: &str) -> bool {
        matches!(self.value(section, name), Some(Value::Flag(true)))
    }

    pub(super) fn number(&self, section: Section, name: &str) -> u64 {
        match self.value(section, name) {
            Some(Value::Number(number)) => number,
            other => unreachable!("`{name}` is a number with a default, not {other:?}"),
        }
    }

    /// For options whose range in the table fits.
    fn small(&self, section: Section, name: &str) -> u32 {
        u32::try_from(self.number(section, name)).expect("the range in the table fits 32 bits")
    }

    fn text(&self, section: Section, name: &str) -> Option<String> {
        match self.value(section, name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn word<T: FromStr + Default>(&self, section: Section, name: &str) -> T {
        self.text(section, name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn digest(&self, section: Section, name: &str) -> Option<Digest> {
        let text = self.text(section, name).filter(|text| !text.is_empty())?;
        // Old names stand for the default, and others have been refused.
        Some(text.parse().unwrap_or_default())
    }

    fn hours(&self, section: Section, name: &str) -> Span {
        Span::secs(3600).times(self.number(section, name))
    }

    fn tenths(&self, section: Section, name: &str) -> Span {
        Span::millis(100).times(self.number(section, name))
    }

    fn seconds(&self, section: Section, name: &str) -> Span {
        Span::secs(self.number(section, name))
    }
}

pub(super) fn net(chain: &Chain<'_>) -> Net {
    const NET: Section = Section::Net;
    Net {
        protocol: match chain.text(NET, "protocol").as_deref() {
            Some("A") => Protocol::A,
            Some("B") => Protocol::B,
            _ => Protocol::C,
        },
        allow_two_primaries: chain.flag(NET, "allow-two-primaries"),
        shared_secret: chain.text(NET, "shared-secret").map(Secret),
        timeout: chain.tenths(NET, "timeout"),
        ping_int: chain.seconds(NET, "ping-int"),
        ping_timeout: chain.tenths(NET, "ping-timeout"),
        connect_int: chain.seconds(NET, "connect-int"),
        ko_count: chain.small(NET, "ko-count"),
        after_sb_0pri: chain.word(NET, "after-sb-0pri"),
        after_sb_1pri: chain.word(NET, "after-sb-1pri"),
        after_sb_2pri: chain.word(NET, "after-sb-2pri"),
        always_asbp: chain.flag(NET, "always-asbp"),
        rr_conflict: chain.word(NET, "rr-conflict"),
        fencing: chain.word(NET, "fencing"),
        max_buffers: chain.small(NET, "max-buffers"),
        sndbuf_size: chain.number(NET, "sndbuf-size"),
        rcvbuf_size: chain.number(NET, "rcvbuf-size"),
        use_rle: chain.flag(NET, "use-rle"),
        on_congestion: chain.word(NET, "on-congestion"),
        congestion_fill: chain.number(NET, "congestion-fill") * Scale::Sector.factor(),
        congestion_extents: chain.small(NET, "congestion-extents"),
        verify_alg: chain.digest(NET, "verify-alg"),
        csums_alg: chain.digest(NET, "csums-alg").map(|digest| match digest {
            Digest::Crc32c => Digest::Xxh3,
            longer => longer,
        }),
        csums_after_crash_only: chain.flag(NET, "csums-after-crash-only"),
        verify_interval: chain.hours(NET, "verify-interval"),
    }
}

pub(super) fn disk(chain: &Chain<'_>) -> DiskOptions {
    const DISK: Section = Section::Disk;
    let sectors = |name| chain.number(DISK, name) * Scale::Sector.factor();
    DiskOptions {
        al_extents: chain.small(DISK, "al-extents"),
        al_updates: chain.flag(DISK, "al-updates"),
        size: Some(sectors("size")).filter(|&size| size > 0),
        on_io_error: chain.word(DISK, "on-io-error"),
        disk_timeout: chain.tenths(DISK, "disk-timeout"),
        read_balancing: chain.word(DISK, "read-balancing"),
        // Looked up once all volumes are known.
        resync_after: None,
        resync_rate: chain.number(DISK, "resync-rate"),
        c_plan_ahead: chain.tenths(DISK, "c-plan-ahead"),
        c_delay_target: chain.tenths(DISK, "c-delay-target"),
        c_fill_target: sectors("c-fill-target"),
        c_max_rate: chain.number(DISK, "c-max-rate"),
        c_min_rate: chain.number(DISK, "c-min-rate"),
    }
}

pub(super) fn resource_options(chain: &Chain<'_>) -> ResourceOptions {
    const OPTIONS: Section = Section::Options;
    ResourceOptions {
        auto_promote: chain.flag(OPTIONS, "auto-promote"),
        on_no_data_accessible: chain.word(OPTIONS, "on-no-data-accessible"),
        durable_interval: chain.tenths(OPTIONS, "durable-interval"),
        durable_limit: chain.number(OPTIONS, "durable-limit"),
    }
}

pub(super) fn startup(chain: &Chain<'_>) -> Startup {
    const STARTUP: Section = Section::Startup;
    let waiting = |name| Some(chain.seconds(STARTUP, name)).filter(|&span| span > Span::ZERO);
    let primaries = chain.text(STARTUP, "become-primary-on").unwrap_or_default();
    Startup {
        wfc_timeout: waiting("wfc-timeout"),
        degr_wfc_timeout: waiting("degr-wfc-timeout"),
        outdated_wfc_timeout: waiting("outdated-wfc-timeout"),
        wait_after_sb: chain.flag(STARTUP, "wait-after-sb"),
        become_primary_on: BecomePrimary::from_words(&primaries),
    }
}

pub(super) fn handlers(chain: &Chain<'_>) -> BTreeMap<String, String> {
    options::of_section(Section::Handlers)
        .filter_map(|spec| Some((spec.name.to_owned(), chain.text(Section::Handlers, spec.name)?)))
        .collect()
}

pub(super) fn nbd(chain: &Chain<'_>) -> NbdSection {
    const NBD: Section = Section::Nbd;
    NbdSection {
        listen: match chain.value(NBD, "listen") {
            Some(Value::Address(address)) => Some(address),
            _ => None,
        },
        unix: chain.text(NBD, "unix").map(Into::into),
        unix_mode: chain.small(NBD, "unix-mode"),
        unix_owner: chain.text(NBD, "unix-owner"),
        unix_group: chain.text(NBD, "unix-group"),
        tls: chain.word(NBD, "tls"),
        tls_certificates: chain.text(NBD, "tls-certificates").map(Into::into),
        read_only: chain.flag(NBD, "read-only"),
    }
}
