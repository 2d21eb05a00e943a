//! Questions and answers as they go over the wire.

use super::*;

#[test]
fn progress_comes_only_when_asked_for() {
    let bench = Bench::new();
    let sync = Request::Sync(Default::default());
    let mut told = Vec::new();
    let path = bench.path();
    let done: DoneReply = runtime().block_on(async {
        let mut client = Client::connect(&path).await.unwrap();
        client.ask_with_progress(&sync, &mut |progress| told.push(progress)).await.unwrap()
    });
    assert_eq!(told, [Progress::Fetching, Progress::Applying { changes: 3 }]);
    assert_eq!(done.message, "Sync");
    assert_eq!(bench.ask(&sync).unwrap().message, "Sync");
}

#[test]
fn refusals_and_a_dropped_request_are_told_as_such() {
    let bench = Bench::new();
    let resume = Request::Resume(ResumeOrder { target: crate::record::SuspendTarget::All });
    match bench.ask(&resume).unwrap_err() {
        ClientError::Refused(Refusal::NotFound { what }) => assert_eq!(what, "nothing is suspended"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(bench.ask(&Request::Reload), Err(ClientError::Refused(Refusal::Busy))));
}

#[test]
fn no_agent_is_told_from_no_right() {
    let error = runtime().block_on(Client::connect(Path::new("/nonexistent/control.sock"))).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
}

#[test]
fn a_request_survives_the_wire() {
    let bench = Bench::new();
    let order = SuspendOrder {
        target: "file:/etc/a b".parse().unwrap(),
        seconds: 7200,
        reason: "night fix \u{1b}[31m; \"quoted\"\n".into(),
    };
    let request = Request::Suspend(order);
    bench.ask(&request).unwrap();
    assert_eq!(bench.fake.asked.lock().unwrap().last().unwrap().1, request);
}

#[test]
fn unknown_methods_and_parameters_are_named() {
    let bench = Bench::new();
    let mut stream = bench.raw();
    let cases = [
        ("org.agentd.Agent.Destroy", "{}", "org.varlink.service.MethodNotFound"),
        ("org.agentd.AgentStatus", "{}", "org.varlink.service.MethodNotFound"),
        ("Status", "{}", "org.varlink.service.MethodNotFound"),
        ("org.agentd.Agent.Status", r#"{"force":true}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.Sync", r#"{"plan":"zz"}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.Suspend", r#"{"target":"file:/x"}"#, "org.varlink.service.InvalidParameter"),
        ("org.agentd.Agent.History", r#"{"drifts":{"exe":"x"}}"#, "org.varlink.service.InvalidParameter"),
        ("org.varlink.service.Nothing", "{}", "org.varlink.service.MethodNotFound"),
    ];
    for (method, parameters, error) in cases {
        stream.write_all(&call(method, parameters)).unwrap();
        let answer = frame(&mut stream);
        assert!(answer.contains(error), "{method} {parameters}: {answer}");
    }
    assert!(bench.fake.asked.lock().unwrap().is_empty());
}

#[test]
fn the_interface_is_served_and_describes_every_verb() {
    let bench = Bench::new();
    let mut stream = bench.raw();
    stream.write_all(&call("org.varlink.service.GetInfo", "{}")).unwrap();
    assert!(frame(&mut stream).contains(INTERFACE_NAME));
    for name in [INTERFACE_NAME, "org.varlink.service"] {
        let parameters = format!("{{\"interface\":\"{name}\"}}");
        stream.write_all(&call("org.varlink.service.GetInterfaceDescription", &parameters)).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&frame(&mut stream)).unwrap();
        let text = answer["parameters"]["description"].as_str().unwrap().to_owned();
        let interface = zlink::idl::Interface::try_from(text.as_str()).unwrap();
        assert_eq!(interface.name().as_str(), name);
    }
    let interface = zlink::idl::Interface::try_from(INTERFACE).unwrap();
    let mut described: Vec<&str> = interface.methods().map(|method| method.name().as_str()).collect();
    let mut verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.method()).collect();
    described.sort_unstable();
    verbs.sort_unstable();
    assert_eq!(described, verbs);
}

#[test]
fn every_request_reads_back_from_its_parameters() {
    for verb in Verb::ALL {
        let request = sample(verb);
        let again = Request::decode(verb, Some(request.parameters().unwrap())).unwrap();
        assert_eq!(again, request);
        assert_eq!(again.verb(), verb);
    }
}

#[test]
fn the_reference_implementation_understands_us() {
    #[derive(Debug, serde::Serialize)]
    #[serde(tag = "method", content = "parameters")]
    enum Methods {
        #[serde(rename = "org.agentd.Agent.Approve")]
        Approve { what: &'static str },
        #[serde(rename = "org.agentd.Agent.Resume")]
        Resume { target: &'static str },
        #[serde(rename = "org.agentd.Agent.Sync")]
        Sync {},
    }
    let bench = Bench::new();
    let path = bench.path();
    runtime().block_on(async {
        let mut wire = zlink::tokio::unix::connect(&path).await.unwrap();
        let approve = zlink::Call::new(Methods::Approve { what: "abcdef0" });
        let (reply, _) = wire.call_method::<_, DoneReply, Refusal>(&approve, Vec::new()).await.unwrap();
        assert_eq!(reply.unwrap().into_parameters().unwrap().message, "Approve");
        let resume = zlink::Call::new(Methods::Resume { target: "all" });
        wire.send_call(&resume, Vec::new()).await.unwrap();
        let (reply, _) = wire.receive_reply::<DoneReply, Refusal>().await.unwrap();
        assert!(matches!(reply, Err(Refusal::NotFound { .. })), "{reply:?}");
        wire.send_call(&zlink::Call::new(Methods::Sync {}).set_more(true), Vec::new()).await.unwrap();
        let mut continues = Vec::new();
        for _ in 0..3 {
            let (reply, _) = wire.receive_reply::<serde_json::Value, Refusal>().await.unwrap();
            continues.push(reply.unwrap().continues().unwrap_or(false));
        }
        assert_eq!(continues, [true, true, false]);
        let mut proxy = wire;
        let info = zlink::varlink_service::Proxy::get_info(&mut proxy).await.unwrap().unwrap();
        assert_eq!(info.interfaces.len(), 2);
        let description = zlink::varlink_service::Proxy::get_interface_description(
            &mut proxy,
            INTERFACE_NAME.try_into().unwrap(),
        )
        .await
        .unwrap()
        .unwrap();
        assert!(description.parse().is_ok());
    });
}
