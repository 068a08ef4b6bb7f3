//! NBD within TLS, by clients of other people; see the scenarios of the same names.

#[test]
fn who_has_no_tls_or_no_certificate_sees_nothing() {
    tests::scenario::check("tls-required");
}

#[test]
fn certificates_are_renewed_and_come_back_after_a_restart() {
    tests::scenario::check("tls-renewed");
}

#[test]
fn bad_certificates_are_refused_and_a_read_only_export_is_not_written() {
    tests::scenario::check("tls-refused");
}

#[test]
fn an_image_goes_in_and_comes_out_within_tls() {
    tests::scenario::check("tls-image");
}
