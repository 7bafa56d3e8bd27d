use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SanType,
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
    // What is written in letters that nobody here reads counts, too.
    let acme = || DnValue::BmpString("acme".try_into().unwrap());
    for (other, expected) in [(None, json!(null)), (Some("beta"), json!([null, "beta"]))] {
        let der = leaf(&signer("CA", |_| {}), |params| {
            params.distinguished_name.push(DnType::OrganizationName, acme());
            let other = other.map(|other| (DnType::CustomDnType(vec![2, 5, 4, 10]), other));
            other.into_iter().for_each(|(kind, name)| params.distinguished_name.push(kind, name));
        });
        assert_eq!(chain(&[der]).unwrap().facts()["subject"]["o"], expected);
    }
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

#[test]
fn an_authority_with_a_new_certificate_for_its_key_signs_what_it_signed() {
    let year = |year: i32| rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let again = |from: i32, to: i32| {
        let mut params = named("CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (year(from), year(to));
        let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
        CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let (old, new, next) = (again(2010, 2020), again(2025, 2035), again(2034, 2044));
    let shown =
        chain(&[leaf(&old, |params| (params.not_before, params.not_after) = (year(2015), year(2040)))]).unwrap();
    let judged = |of: &[&Signer]| {
        let certificates: Vec<Vec<u8>> = of.iter().map(|one| one.der().to_vec()).collect();
        Authorities::compile(&certificates).judge(&shown, now())
    };
    assert_eq!(judged(&[&old]), Err(Fault::Untrusted));
    let until = judged(&[&new]).unwrap();
    for order in [[&old, &new, &next], [&next, &new, &old], [&new, &old, &next]] {
        assert_eq!(judged(&order), Ok(until), "whichever comes first, and until the one that counts ends");
    }
    // Of one that was over when the authority of today came, its own time is told.
    let over = chain(&[leaf(&old, |params| params.not_after = year(2019))]).unwrap();
    let authorities = Authorities::compile(&[new.der().to_vec()]);
    assert!(matches!(authorities.judge(&over, now()), Err(Fault::Expired(_))));
}

#[test]
fn a_key_is_used_for_what_it_is_for() {
    let root = signer("CA", |_| {});
    let judge = |shown: &Chain| Authorities::compile(&[root.der().to_vec()]).judge(shown, now());
    let usages =
        |usages: &[KeyUsagePurpose]| chain(&[leaf(&root, |params| params.key_usages = usages.to_vec())]).unwrap();
    assert!(judge(&usages(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment])).is_ok());
    assert_eq!(judge(&usages(&[KeyUsagePurpose::KeyEncipherment])), Err(Fault::Purpose));
    for (usage, is_believed) in [
        (vec![], true),
        (vec![KeyUsagePurpose::KeyCertSign], true),
        (vec![KeyUsagePurpose::CrlSign], false),
        (vec![KeyUsagePurpose::DigitalSignature], false),
    ] {
        let mut params = named("West");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.clone_from(&usage);
        let west = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        let shown = chain(&[leaf(&west, |_| {}), west.der().to_vec()]).unwrap();
        assert_eq!(judge(&shown).is_ok(), is_believed, "{usage:?}");
    }
}

#[test]
fn what_lies_between_signs_as_far_as_it_may() {
    let root = signer("CA", |_| {});
    let below = |of: &Signer, constraints: IsCa, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = named("between");
        params.is_ca = constraints;
        change(&mut params);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), of).unwrap()
    };
    let judge = |shown: &[Vec<u8>]| Authorities::compile(&[root.der().to_vec()]).judge(&chain(shown).unwrap(), now());
    let open = IsCa::Ca(BasicConstraints::Unconstrained);
    // No authority, and one that may have callers below it, but no further authority.
    for none in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let between = below(&root, none, &|_| {});
        assert_eq!(judge(&[leaf(&between, |_| {}), between.der().to_vec()]), Err(Fault::Untrusted));
    }
    let last = below(&root, IsCa::Ca(BasicConstraints::Constrained(0)), &|_| {});
    assert!(judge(&[leaf(&last, |_| {}), last.der().to_vec()]).is_ok());
    let beyond = below(&last, open, &|_| {});
    let shown = [leaf(&beyond, |_| {}), beyond.der().to_vec(), last.der().to_vec()];
    assert_eq!(judge(&shown), Err(Fault::Untrusted));
    // One that is for servers has no callers below it.
    let servers = below(&root, open, &|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(judge(&[leaf(&servers, |_| {}), servers.der().to_vec()]), Err(Fault::Purpose));
    // Names that are confined in a way which cannot be judged are not believed.
    let confined = below(&root, open, &|params| {
        let names = GeneralSubtree::Rfc822Name("acme.example".to_owned());
        params.name_constraints = Some(NameConstraints { permitted_subtrees: vec![names], excluded_subtrees: vec![] });
    });
    let mailed = |name: &str| {
        leaf(&confined, |params| params.subject_alt_names = vec![SanType::Rfc822Name(name.try_into().unwrap())])
    };
    for name in ["a@acme.example", "a@beta.example"] {
        assert_eq!(judge(&[mailed(name), confined.der().to_vec()]), Err(Fault::Untrusted), "{name}");
    }
}

#[test]
fn whoever_writes_a_signature_otherwise_has_the_same_fingerprints() {
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let mut params = named("CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate_for(kind).unwrap()).unwrap();
        let authorities = Authorities::compile(&[root.der().to_vec()]);
        for _ in 0..20 {
            let der = leaf(&root, |_| {});
            let twin = super::twin::of(&der).unwrap();
            assert_ne!(der, twin);
            assert_eq!(super::twin::of(&twin).as_ref(), Some(&der));
            let [one, other] = [der, twin].map(|der| chain(&[der]).unwrap());
            assert!(authorities.judge(&one, now()).is_ok() && authorities.judge(&other, now()).is_ok());
            let [one, other] = [one, other].map(|one| one.fingerprints().collect::<BTreeSet<_>>());
            assert!(one.len() == 2 && one == other, "{one:?} {other:?}");
        }
    }
    let root = CertifiedIssuer::self_signed(named("CA"), KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap();
    let shown = chain(&[root.der().to_vec()]).unwrap();
    assert_eq!(shown.fingerprints().count(), 1, "there is one way only");
}
