//! The NBD protocol: negotiation, requests, replies, and the trait of the export behind them
