//! The control socket: its types and its codec
