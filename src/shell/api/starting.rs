//! What a node answers while it still reads its log: that it is there, and not yet of use.
//!
//! In: listeners, and the work to be done on a thread of its own. Out: what the work came to.
//! `/metrics` and `/v1/health/live` are there from the first moment; all else gets 503.
//!
//! Never: shows anything that is not yet known to be whole.

use std::io;
use std::rc::Rc;
use std::thread;

use async_channel::Sender;
use async_executor::LocalExecutor;
use futures_lite::future;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;

use crate::shell::api::api_key::ApiKeyCheck;
use crate::shell::http::policed::Policed;
use crate::shell::http::{AnswerBody, Body, Bounds, Counts, Handler, HttpAnswer, Server, refuse};
use crate::shell::runtime::memory;
use crate::shell::runtime::reactor;
use crate::shell::runtime::signals::Signals;
use crate::shell::runtime::socket::TcpListener;
use crate::shell::runtime::supervisor::Supervisor;
use crate::wire::http::policy::Policy;
use crate::wire::http::{JSON, Route, route};
use crate::wire::json::health;
use crate::wire::metrics;
use crate::wire::rejection::Rejection;

/// Does the work on a thread of its own and answers at the listeners meanwhile; `None` if a
/// signal asks the node to stop before the work is done.
pub(crate) fn serve_while<T: Send + 'static>(
    listeners: [(&TcpListener, Policy); 2],
    (check, bounds): (ApiKeyCheck, Bounds),
    (signals, reloads, supervisor): (&Signals, &Sender<()>, &Supervisor),
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, outcome) = async_channel::bounded(1);
    let doing = move || {
        // The waiting thread may have been asked to stop.
        let _ = done.try_send(work());
    };
    thread::Builder::new().name("recovery".into()).spawn(doing)?;
    let reactor = reactor::current()?;
    let executor = LocalExecutor::new();
    let handler = Rc::new(Starting(check));
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let [api, gateway] = listeners.map(|(listener, policy)| {
        let handler = Policed::new(handler.clone(), policy);
        let server = Server::new(handler, bounds, Rc::<Counts>::default());
        listener.try_clone().map(|listener| (server, listener))
    });
    let ((api, api_listener), (gateway, gateway_listener)) = (api?, gateway?);
    let until = || async {
        // The channel carries nothing: it closes.
        let _ = stopped.recv().await;
    };
    let serving = future::zip(
        api.serve(&executor, api_listener, until()),
        gateway.serve(&executor, gateway_listener, until()),
    );
    let waiting = async {
        let asked = async {
            // A signal that cannot be read is one all the same.
            let _ = signals.next_stop(reloads).await;
            None
        };
        let worked = async { Some(outcome.recv().await.expect("recovery does not panic")) };
        let extending = async {
            supervisor.keep_starting().await;
            None
        };
        let ended = future::or(worked, future::or(asked, extending)).await;
        stop.close();
        ended
    };
    Ok(reactor.block_on(&executor, future::zip(waiting, serving)).0)
}

/// Answers while there is nothing to answer from.
struct Starting(ApiKeyCheck);

impl Handler for Starting {
    async fn handle(&self, head: Parts, _: &mut Body) -> HttpAnswer {
        if let Err(rejection) = self.0.admit(&head) {
            return refuse(&rejection);
        }
        let (page, media_type) = match route(&head.method, &head.uri) {
            Ok(Route::Live) => (health::LIVE.to_owned(), JSON),
            Ok(Route::Metrics) => {
                let page = metrics::render_starting(memory::resident());
                (page, HeaderValue::from_static(metrics::CONTENT_TYPE))
            }
            _ => return refuse(&Rejection::Starting),
        };
        let mut response = Response::new(AnswerBody::whole(page));
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
    }

    fn note_refused(&self, _: &Rejection) {}
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::mpsc;

    use super::*;
    use crate::shell::runtime::signals::Signal;
    use crate::wire::http::policy::Hosts;

    fn get(at: SocketAddr, host: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(at).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn metrics_are_there_while_the_log_is_read() {
        let signals = Signals::new(Signal::ALL).expect("this thread may block signals");
        let bind = || TcpListener::bind("127.0.0.1:0".parse().expect("an address"));
        let (api, gateway) = (bind().expect("a free port"), bind().expect("a free port"));
        let addresses =
            [&api, &gateway].map(|listener| listener.local_addr().expect("it is bound"));
        let (release, released) = mpsc::channel();
        let asking = thread::spawn(move || {
            for address in addresses {
                let host = "Host: localhost\r\n";
                let page = get(address, host, "/metrics");
                assert!(page.starts_with("HTTP/1.1 200"), "{page}");
                assert!(page.contains("stemedb_starting 1"), "{page}");
                for (host, status) in [("", "400"), ("Host: evil.example\r\n", "421")] {
                    let page = get(address, host, "/metrics");
                    assert!(page.starts_with(&format!("HTTP/1.1 {status}")), "{page}");
                }
                let live = get(address, host, "/v1/health/live");
                assert!(live.starts_with("HTTP/1.1 200"), "{live}");
                assert!(live.ends_with("{\"status\":\"live\"}"), "{live}");
                for path in ["/v1/health", "/v1/health/ready", "/v1/query"] {
                    let health = get(address, host, path);
                    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
                    assert!(health.contains("retry-after: 1"), "{health}");
                    assert!(health.contains("\"code\":\"starting\""), "{health}");
                }
            }
            release.send(7).expect("the work waits");
        });
        let work = move || released.recv().expect("released");
        let check = ApiKeyCheck::new(None, false);
        let listeners = [&api, &gateway].map(|listener| {
            let address = listener.local_addr().expect("it is bound").ip();
            (listener, Policy { hosts: Hosts::new(None, None, address), ..Policy::default() })
        });
        let (reloads, _) = async_channel::bounded(1);
        let context = (&signals, &reloads, &Supervisor::default());
        let found = serve_while(listeners, (check, Bounds::default()), context, work);
        assert_eq!(found.expect("it serves"), Some(7));
        asking.join().expect("all answers were right");
    }
}
