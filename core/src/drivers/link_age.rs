//! The age of a link: how long it may last before both ends show their certificates again. It ends when
//! `tls.max_link_age` is reached, when the certificate the other end showed expires, and, at a random moment within
//! `tls.reauthenticate`, after this node's certificates were replaced.
//!
//! A link that is too old is closed and made again at once, by the link keeper; what was not acknowledged on it is sent
//! on the next one. Whether the other end still is who it was is found out by the next handshake.

use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::net::identity;
use crate::net::tls::Tls;

/// The longest sleep between two looks at the wall clock, by which certificates expire and which may be set.
const LOOK: Duration = Duration::from_secs(30);

/// Why a link is to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// This node's certificates, or its CA, were replaced.
    #[error("certificates were replaced")]
    Replaced,
    /// It has been up for as long as `tls.max_link_age` allows.
    #[error("it reached tls.max_link_age")]
    Age,
    /// The certificate the other side showed expired.
    #[error("the certificate the other side showed expired")]
    Expired,
}

/// Which side of the link this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It made the link, and renews it a little before the other side would close it.
    Made,
    /// It accepted the link.
    Accepted,
}

/// When one link is to be made again. See the module page.
#[derive(Debug)]
pub struct LinkAge {
    side: Side,
    current: watch::Receiver<Tls>,
    made_with: Tls,
    began: Instant,
    replaced: Option<Instant>,
    not_after: Option<SystemTime>,
    /// From 0 to 1: keeps all links from being made again at the same time.
    spread: f64,
}

impl LinkAge {
    /// The age of a link that was just made with `made_with`, on which the other side showed `certificates`.
    #[must_use]
    pub fn begin(
        side: Side,
        current: watch::Receiver<Tls>,
        made_with: Tls,
        certificates: Option<&[CertificateDer<'_>]>,
    ) -> Self {
        Self {
            side,
            current,
            made_with,
            began: Instant::now(),
            replaced: None,
            not_after: certificates.and_then(identity::not_after),
            spread: rand::random(),
        }
    }

    /// Returns when the link is to be made again. Cancel-safe.
    pub async fn over(&mut self) -> Over {
        loop {
            let (now, wall) = (Instant::now(), SystemTime::now());
            let left = match self.left(now, wall) {
                Ok(left) => left,
                Err(over) => return over,
            };
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                Ok(()) = self.current.changed() => {}
            }
        }
    }

    /// How long the link has left, as far as is known at `now` and `wall`.
    ///
    /// # Errors
    /// Why it is over, if it is.
    fn left(&mut self, now: Instant, wall: SystemTime) -> Result<Duration, Over> {
        let (same, renewal) = {
            let current = self.current.borrow_and_update();
            (current.has_same_credentials_as(&self.made_with), current.renewal)
        };
        if same {
            self.replaced = None;
        } else {
            self.replaced.get_or_insert(now);
        }
        let age = match self.side {
            Side::Made => renewal.max_age.mul_f64(0.8 + 0.15 * self.spread),
            Side::Accepted => renewal.max_age,
        };
        let until =
            |from: Instant, after: Duration| after.saturating_sub(now.saturating_duration_since(from));
        let deadlines = [
            Some((until(self.began, age), Over::Age)),
            self.replaced
                .map(|at| (until(at, renewal.within.mul_f64(self.spread)), Over::Replaced)),
            self.not_after
                .map(|at| (at.duration_since(wall).unwrap_or_default(), Over::Expired)),
        ];
        let first = deadlines.into_iter().flatten().min_by_key(|(left, _)| *left);
        match first {
            Some((Duration::ZERO, over)) => Err(over),
            Some((left, _)) => Ok(left),
            None => Ok(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::net::identity::CertifiedNode;
    use crate::net::tls::{Renewal, TlsFiles};

    const AGE: Duration = Duration::from_secs(1000);

    /// Certificates of one node, each issued anew by its own CA.
    fn loaded(name: &str) -> Tls {
        let folder = std::env::temp_dir().join(format!("limpet-link-age-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder); // left behind by a process of the same number
        crate::pki::init(&folder, "shop").unwrap();
        crate::pki::issue(&folder, "a", &[]).unwrap();
        let at = |file: &str| -> PathBuf { folder.join(file) };
        let files = TlsFiles {
            ca: at("ca.pem"),
            cert: at("a.pem"),
            key: at("a.key"),
        };
        let own = CertifiedNode {
            cluster: "shop".into(),
            node: "a".into(),
        };
        let tls = Tls::load(&files, &own).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        tls.renewing(Renewal {
            within: Duration::from_secs(60),
            max_age: AGE,
        })
    }

    fn link_age(side: Side, tls: &Tls) -> (LinkAge, watch::Sender<Tls>) {
        let (sender, current) = watch::channel(tls.clone());
        (LinkAge::begin(side, current, tls.clone(), None), sender)
    }

    #[test]
    fn a_link_ends_by_age_and_its_maker_renews_it_first() {
        let tls = loaded("age");
        let (mut made, _sender) = link_age(Side::Made, &tls);
        let (mut accepted, _other) = link_age(Side::Accepted, &tls);
        let wall = SystemTime::now();
        let early = made.began + AGE.mul_f64(0.79);
        assert!(made.left(early, wall).is_ok());
        assert_eq!(made.left(made.began + AGE.mul_f64(0.96), wall), Err(Over::Age));
        assert!(accepted.left(accepted.began + AGE.mul_f64(0.99), wall).is_ok());
        assert_eq!(accepted.left(accepted.began + AGE, wall), Err(Over::Age));
    }

    #[test]
    fn replaced_certificates_end_a_link_within_the_configured_time_and_the_same_ones_do_not() {
        let (tls, other) = (loaded("old"), loaded("new"));
        let (mut link_age, sender) = link_age(Side::Accepted, &tls);
        let (wall, now) = (SystemTime::now(), link_age.began);
        sender.send_replace(tls.clone());
        assert!(
            link_age.left(now + Duration::from_secs(120), wall).is_ok(),
            "loaded again, but the same"
        );
        sender.send_replace(other);
        let left = link_age.left(now, wall).map_or(Duration::ZERO, |left| left);
        assert!(left <= Duration::from_secs(60), "{left:?}");
        assert_eq!(
            link_age.left(now + Duration::from_secs(60), wall),
            Err(Over::Replaced)
        );
    }

    #[test]
    fn a_link_does_not_outlive_the_certificate_it_was_made_with() {
        let tls = loaded("over");
        let (mut link_age, _sender) = link_age(Side::Made, &tls);
        let (wall, now) = (SystemTime::now(), link_age.began);
        link_age.not_after = Some(wall + Duration::from_secs(5));
        assert_eq!(link_age.left(now, wall), Ok(Duration::from_secs(5)));
        assert_eq!(
            link_age.left(now, wall + Duration::from_secs(5)),
            Err(Over::Expired)
        );
    }

    #[tokio::test]
    async fn it_notices_a_replacement_while_it_waits() {
        let (tls, other) = (loaded("asleep"), loaded("awake"));
        let (mut link_age, sender) = link_age(Side::Accepted, &tls);
        link_age.spread = 0.0;
        let waiting = tokio::spawn(async move { link_age.over().await });
        tokio::task::yield_now().await;
        sender.send_replace(other);
        let over = tokio::time::timeout(Duration::from_secs(5), waiting).await;
        assert_eq!(over.unwrap().unwrap(), Over::Replaced);
    }
}
