//! Rules of a request, without any I/O.
