use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue, GeneralSubtree, IsCa,
    KeyPair, NameConstraints, SanType,
};
use serde_json::json;

use super::{Authorities, Chain, Fault, Unreadable};

type Signer = CertifiedIssuer<'static, KeyPair>;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    params
}

fn signer(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signer {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(signer: &Signer, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = named("leaf");
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), signer).unwrap().der().to_vec()
}

fn chain(certificates: &[Vec<u8>]) -> Result<Chain, Unreadable> {
    Chain::of(certificates.iter().map(Vec::as_slice))
}

#[test]
fn what_cannot_be_read_is_no_chain() {
    let good = leaf(&signer("CA", |_| {}), |_| {});
    let behind = [good.as_slice(), b"x"].concat();
    for (certificates, why) in [
        (vec![], Unreadable::Empty),
        (vec![b"nothing".to_vec()], Unreadable::Malformed),
        (vec![good.clone(), Vec::new()], Unreadable::Malformed),
        (vec![behind], Unreadable::Malformed),
        (vec![good.get(..good.len() - 1).unwrap().to_vec()], Unreadable::Malformed),
        (vec![good.clone(); super::chain::MOST + 1], Unreadable::TooLarge),
        (vec![vec![0; super::chain::LARGEST + 1]], Unreadable::TooLarge),
    ] {
        assert_eq!(chain(&certificates), Err(why), "{} certificates", certificates.len());
    }
    let (one, two) = (chain(std::slice::from_ref(&good)).unwrap(), chain(&[good.clone(), good]).unwrap());
    assert_ne!(one.digest(), two.digest(), "what stands behind belongs to it");
}

#[test]
fn a_subject_is_shown_in_a_form_that_breaks_no_line() {
    let signer = signer("CA", |_| {});
    let der = leaf(&signer, |params| *params = named("a`b\u{0}\u{1b}[31m\n"));
    assert_eq!(chain(&[der]).unwrap().subject(), "CN=a?b??[31m?");
    let der = leaf(&signer, |params| *params = named(&"x".repeat(1000)));
    assert_eq!(chain(&[der]).unwrap().subject().len(), 160);
}

#[test]
fn what_stands_twice_is_a_list() {
    let der = leaf(&signer("CA", |_| {}), |params| {
        params.distinguished_name.push(DnType::OrganizationName, "acme");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "beta");
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3]), "unknown");
        params.subject_alt_names = ["a.example", "b.example", "c.example"]
            .map(|name| SanType::DnsName(name.try_into().unwrap()))
            .into_iter()
            .chain([SanType::Rfc822Name("a@b".try_into().unwrap()), SanType::IpAddress([127, 0, 0, 1].into())])
            .collect();
        params.serial_number = Some(vec![0, 0x0f, 0xff].into());
    });
    let expected = json!({
        "subject": { "cn": "leaf", "o": ["acme", "beta"], "c": "DE" },
        "san": { "dns": ["a.example", "b.example", "c.example"], "email": "a@b" },
        "serial": "fff",
    });
    assert_eq!(serde_json::Value::Object(chain(&[der]).unwrap().facts()), expected);
}

#[test]
fn it_is_good_until_the_first_of_its_path_ends() {
    let year = |year: i32| rcgen::date_time_ymd(year, 1, 1);
    let end = |chain: &Chain, of: &Signer| Authorities::compile(&[of.der().to_vec()]).judge(chain, now());
    let ends = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs() / 31_556_952 + 1970;
    for (root, between, own, first) in [(2040, 2035, 2030, 2030), (2040, 2030, 2035, 2030), (2030, 2040, 2035, 2030)] {
        let root = signer("CA", |params| params.not_after = year(root));
        let mut params = named("West");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = year(between);
        let west = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        let shown = chain(&[leaf(&west, |params| params.not_after = year(own)), west.der().to_vec()]).unwrap();
        let until = end(&shown, &root).unwrap();
        assert!([first - 1, first].contains(&ends(until)), "{until:?}");
        let alone = chain(&[leaf(&west, |_| {})]).unwrap();
        assert_eq!(end(&alone, &root), Err(Fault::Untrusted));
        assert!(end(&alone, &west).is_ok(), "an authority need not be the highest");
    }
}

#[test]
fn an_authority_is_named_before_it_is_asked() {
    let (ours, other) = (signer("CA", |_| {}), signer("Other", |_| {}));
    let authorities = Authorities::compile(&[ours.der().to_vec(), b"nothing".to_vec()]);
    assert_eq!(authorities.names(), "`CN=CA`");
    let (good, foreign) = (chain(&[leaf(&ours, |_| {})]).unwrap(), chain(&[leaf(&other, |_| {})]).unwrap());
    assert!(authorities.are_named_in(&good) && !authorities.are_named_in(&foreign));
    // One that names it need not be of it.
    let forged = chain(&[leaf(&signer("CA", |_| {}), |_| {})]).unwrap();
    assert!(authorities.are_named_in(&forged));
    assert_eq!(authorities.judge(&forged, now()), Err(Fault::Untrusted));
    assert_eq!(Authorities::compile(&[]).judge(&good, now()), Err(Fault::Untrusted));
}

#[test]
fn an_authority_that_may_sign_for_some_names_signs_for_no_others() {
    let confined = signer("CA", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("acme.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let authorities = Authorities::compile(&[confined.der().to_vec()]);
    let named = |name: &str| {
        let name = SanType::DnsName(name.try_into().unwrap());
        chain(&[leaf(&confined, |params| params.subject_alt_names = vec![name])]).unwrap()
    };
    assert!(authorities.judge(&named("a.acme.example"), now()).is_ok());
    assert_eq!(authorities.judge(&named("a.beta.example"), now()), Err(Fault::Untrusted));
}

#[test]
fn its_time_is_told_only_of_what_was_good() {
    let (ours, forged) = (signer("CA", |_| {}), signer("CA", |_| {}));
    let authorities = Authorities::compile(&[ours.der().to_vec()]);
    let over =
        |signer: &Signer| chain(&[leaf(signer, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))]).unwrap();
    let early = |signer: &Signer| {
        chain(&[leaf(signer, |params| params.not_before = rcgen::date_time_ymd(2040, 1, 1))]).unwrap()
    };
    assert!(matches!(authorities.judge(&over(&ours), now()), Err(Fault::Expired(_))));
    assert!(matches!(authorities.judge(&early(&ours), now()), Err(Fault::NotYet(_))));
    assert_eq!(authorities.judge(&over(&forged), now()), Err(Fault::Untrusted));
    assert_eq!(authorities.judge(&early(&forged), now()), Err(Fault::Untrusted));
}
