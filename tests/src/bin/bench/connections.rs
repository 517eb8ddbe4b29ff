//! What a process sent and heard over TCP, as the kernel counts it: payload, TLS included, headers of TCP and IP not.

use std::process::Command;

/// Bytes of all TCP connections of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes it sent, retransmissions not counted.
    pub sent: f64,
    /// Bytes it received.
    pub received: f64,
}

impl Traffic {
    /// Up to now, of the established connections of process `id` that touch one of `ports`; with `space`, in that
    /// network namespace.
    ///
    /// # Panics
    /// When `ss` cannot be asked.
    pub fn of(id: u32, ports: &[u16], space: Option<&str>) -> Self {
        let mut command = Command::new("ip");
        match space {
            Some(space) => command.args(["netns", "exec", space, "ss"]),
            None => {
                command = Command::new("ss");
                &mut command
            }
        };
        let output = command.args(["-tinpHO", "state", "established"]).output();
        let output = output.expect("ss can be run; `make deps-bench` installs iproute2");
        Self::read(&String::from_utf8_lossy(&output.stdout), id, ports)
    }

    fn read(text: &str, id: u32, ports: &[u16]) -> Self {
        let (owner, ports) = (
            format!("pid={id},"),
            ports.iter().map(|port| format!(":{port}")).collect::<Vec<_>>(),
        );
        let mut all = Self::default();
        for line in text.lines().filter(|line| line.contains(&owner)) {
            let deadlines: Vec<_> = line.split_whitespace().skip(2).take(2).collect();
            if !deadlines
                .iter()
                .any(|end| ports.iter().any(|port| end.ends_with(port.as_str())))
            {
                continue;
            }
            let number = |name: &str| {
                let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
                word.and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
            };
            all.sent += number("bytes_sent:") - number("bytes_retrans:");
            all.received += number("bytes_received:");
        }
        all
    }

    /// What came after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Traffic;

    #[test]
    fn reads_what_ss_prints() {
        let text = "0 0 127.0.0.1:4001 127.0.0.1:58816 users:((\"core\",pid=19,fd=45)) bbr bytes_sent:100 bytes_retrans:20 bytes_received:7\n\
                    0 0 127.0.0.1:4001 127.0.0.1:58816 users:((\"core\",pid=191,fd=45)) bbr bytes_sent:5 bytes_received:5\n\
                    0 0 127.0.0.1:999 127.0.0.1:58816 users:((\"core\",pid=19,fd=46)) bbr bytes_sent:5 bytes_received:5\n";
        let traffic = Traffic::read(text, 19, &[4001]);
        assert_eq!((traffic.sent, traffic.received), (80.0, 7.0));
    }
}
