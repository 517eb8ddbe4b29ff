//! Tomcat with one page that sets one attribute, alone or in a cluster with the manager its documentation begins
//! with: DeltaManager, asynchronous, multicast membership.

mod space;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use limpet_tests::process::Process;

use crate::cpu::{LOAD, pinned};
pub use space::Space;

const HOME: &str = "/usr/share/tomcat10";
/// Two JVMs that start at the same time on a busy machine need a while.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(5);

/// Where every instance keeps the port of its receiver, in a namespace where nobody else has it.
pub const RECEIVERS: [u16; 2] = [4001, 4002];

/// A running Tomcat in a namespace.
pub struct Tomcat {
    /// The process.
    pub process: Process,
    /// `ip:port` of its connector, inside the namespace.
    pub listen: String,
    base: PathBuf,
}

impl Tomcat {
    /// Starts number 0 or 1 on `processor`, with a cluster or without, and waits for nothing.
    pub fn spawn(space: &Space, dir: &Path, number: usize, processor: usize, cluster: bool) -> Self {
        let base = dir.join(format!("tomcat-{number}-{cluster}"));
        let listen = format!("127.0.0.1:{}", 8081 + number);
        lay_out(&base, number, cluster);
        let mut java = Command::new("java");
        java.current_dir(&base)
            .args(["-Xmx1g", "-Djava.net.preferIPv4Stack=true"])
            .arg(format!("-Dcatalina.home={HOME}"))
            .arg(format!("-Dcatalina.base={}", base.display()))
            .arg(format!("-Djava.io.tmpdir={}", base.join("temp").display()))
            .args([
                "-cp",
                &format!("{HOME}/bin/bootstrap.jar:{HOME}/bin/tomcat-juli.jar"),
            ])
            .args(["org.apache.catalina.startup.Bootstrap", "start"]);
        let log = base.join("tomcat.log");
        let _ = fs::remove_file(&log); // a run before this one may have left it
        let process = Process::start("tomcat", &base, &mut space.inside(&pinned(processor, &java)));
        Self {
            process,
            listen,
            base,
        }
    }

    /// Waits until it has started.
    pub async fn serves(&mut self) {
        self.said("Server startup in", PATIENCE).await;
    }

    /// Waits until its log has `words`, looking every few milliseconds; says when that was.
    pub async fn said(&mut self, words: &str, within: Duration) -> Instant {
        let start = Instant::now();
        loop {
            if self.process.log().contains(words) {
                return Instant::now();
            }
            assert!(self.process.runs(), "Tomcat ended: {}", self.process.tail());
            assert!(
                start.elapsed() < within,
                "Tomcat says {words:?} within {within:?}; {}",
                self.process.tail()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks for the page `count` times as a new visitor; the cookies it gave.
    pub fn visitors(&self, space: &Space, count: usize) -> Vec<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--include"]);
        curl.args(std::iter::repeat_n(self.page(), count));
        let output = space.inside(&pinned(LOAD, &curl)).output();
        let output = output.expect("curl can be run; `make deps-bench` installs it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let cookies = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("Set-Cookie: ")?;
            Some(rest.split(';').next().unwrap_or(rest).trim().to_owned())
        });
        let cookies: Vec<_> = cookies.collect();
        assert_eq!(
            cookies.len(),
            count,
            "Tomcat gave every visitor a session: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        cookies
    }

    /// The address of the page that sets the attribute.
    pub fn page(&self) -> String {
        format!("http://{}/set.jsp", self.listen)
    }

    /// Its directory.
    pub fn base(&self) -> &Path {
        &self.base
    }
}

/// Everything Tomcat reads, in `base`.
fn lay_out(base: &Path, number: usize, cluster: bool) {
    let app = base.join("webapps/ROOT");
    for dir in ["conf", "work", "temp", "logs", "webapps/ROOT/WEB-INF"] {
        fs::create_dir_all(base.join(dir)).expect("a directory in the bench's own");
    }
    let distributable = if cluster { "<distributable/>" } else { "" };
    let files = [
        (base.join("conf/server.xml"), server(number, cluster)),
        (
            app.join("WEB-INF/web.xml"),
            format!(
                "<web-app xmlns=\"https://jakarta.ee/xml/ns/jakartaee\" version=\"6.0\">{distributable}</web-app>\n"
            ),
        ),
        (
            app.join("set.jsp"),
            "<%@ page contentType=\"text/plain\" %><% session.setAttribute(\"cart\", \"01234567\"); %>ok\n"
                .to_owned(),
        ),
    ];
    for (path, text) in files {
        fs::write(path, text).expect("a file in the bench's directory");
    }
    let defaults = Path::new(HOME).join("etc/web.xml");
    fs::copy(&defaults, base.join("conf/web.xml"))
        .unwrap_or_else(|e| panic!("{}: {e}; `make deps-bench` installs tomcat10", defaults.display()));
}

fn server(number: usize, cluster: bool) -> String {
    let cluster = if cluster {
        clustered(RECEIVERS[number])
    } else {
        String::new()
    };
    format!(
        r#"<Server port="-1">
  <Service name="Catalina">
    <Connector port="{port}" address="127.0.0.1" maxKeepAliveRequests="-1"/>
    <Engine name="Catalina" defaultHost="localhost" jvmRoute="w{number}">
      {cluster}<Host name="localhost" appBase="webapps" autoDeploy="false"/>
    </Engine>
  </Service>
</Server>
"#,
        port = 8081 + number
    )
}

fn clustered(receiver: u16) -> String {
    format!(
        r#"<Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster" channelSendOptions="8">
        <Manager className="org.apache.catalina.ha.session.DeltaManager" expireSessionsOnShutdown="false" notifyListenersOnReplication="true"/>
        <Channel className="org.apache.catalina.tribes.group.GroupChannel">
          <Membership className="org.apache.catalina.tribes.membership.McastService" address="228.0.0.4" port="45564" frequency="500" dropTime="3000" bind="127.0.0.1"/>
          <Receiver className="org.apache.catalina.tribes.transport.nio.NioReceiver" address="127.0.0.1" port="{receiver}" autoBind="0"/>
          <Sender className="org.apache.catalina.tribes.transport.ReplicationTransmitter">
            <Transport className="org.apache.catalina.tribes.transport.nio.PooledParallelSender"/>
          </Sender>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.TcpFailureDetector"/>
          <Interceptor className="org.apache.catalina.tribes.group.interceptors.MessageDispatchInterceptor"/>
        </Channel>
        <Valve className="org.apache.catalina.ha.tcp.ReplicationValve" filter=""/>
        <ClusterListener className="org.apache.catalina.ha.session.ClusterSessionListener"/>
      </Cluster>
      "#
    )
}
