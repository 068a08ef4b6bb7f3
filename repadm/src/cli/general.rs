//! drbdadm's general options that are not ours. Each is refused with the reason, so that no script
//! goes on in the belief that it was obeyed.

use clap::Args;

/// They stand before the command.
#[derive(Clone, Debug, Default, Args)]
pub struct DrbdadmOptions {
    /// Of stacked resources
    #[arg(short = 'S', long, hide = true)]
    stacked: bool,
    /// Print as an assignment to that variable
    #[arg(short = 'n', long, hide = true, value_name = "NAME")]
    sh_varname: Option<String>,
    /// The peer that is meant
    #[arg(short = 'P', long, hide = true, value_name = "NAME")]
    peer: Option<String>,
    /// The program instead of drbdsetup
    #[arg(short = 's', long, hide = true, value_name = "PATH")]
    drbdsetup: Option<String>,
    /// The program instead of drbdmeta
    #[arg(short = 'm', long, hide = true, value_name = "PATH")]
    drbdmeta: Option<String>,
    /// The program instead of drbd-proxy-ctl
    #[arg(short = 'p', long, hide = true, value_name = "PATH")]
    drbd_proxy_ctl: Option<String>,
    /// An option for this call only
    #[arg(short = 'W', long, hide = true, value_name = "OPTION:VALUE")]
    setup_option: Vec<String>,
}

impl DrbdadmOptions {
    /// Those of them that have a value, as they are typed.
    pub const WITH_VALUE: &'static [&'static str] = &[
        "-n",
        "--sh-varname",
        "-P",
        "--peer",
        "-s",
        "--drbdsetup",
        "-m",
        "--drbdmeta",
        "-p",
        "--drbd-proxy-ctl",
        "-W",
        "--setup-option",
    ];

    /// Why the first of them that was given is not obeyed.
    pub fn refusal(&self) -> Option<String> {
        let refuse = |option: &str, why: &str| Some(format!("{option}: {why}"));
        if self.stacked {
            return refuse("--stacked", "there are no stacked resources: a resource has two hosts");
        }
        if let Some(name) = &self.sh_varname {
            let why = format!("assign it in the shell: {name}=$(repadm sh-dev RESOURCE)");
            return refuse("--sh-varname", &why);
        }
        if let Some(peer) = &self.peer {
            let why = format!("a resource has one peer; name it as RESOURCE:{peer} if you like");
            return refuse("--peer", &why);
        }
        let programs = [
            ("--drbdsetup", &self.drbdsetup),
            ("--drbdmeta", &self.drbdmeta),
            ("--drbd-proxy-ctl", &self.drbd_proxy_ctl),
        ];
        if let Some((option, _)) = programs.iter().find(|(_, program)| program.is_some()) {
            return refuse(option, "there are no programs behind repadm but the daemon");
        }
        let first = self.setup_option.first()?;
        let why = format!(
            "{first}: options are changed for good or not at all: write it into the configuration \
             and say repadm adjust, or use the options command of its section (net-options, \
             disk-options, resource-options)"
        );
        refuse("--setup-option", &why)
    }
}
