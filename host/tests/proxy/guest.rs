//! A test filter in the text format. The first byte of the field `x-do` of a request says what it does:
//!
//! ```text
//! h  adds x-added: 1                 d  writes x-to into x-limpet-destination
//! r  answers 418                     c  pauses, calls the cluster "side", adds x-called: 1, resumes
//! u  calls an unknown cluster        o  passes a pointer outside of its memory
//!    and adds the status             b  replaces the body by "replaced" at its end
//! t  traps      l  loops             p  pauses for ever
//! m  grows until it may not, traps
//! ```
//! Every answer gets `x-filter: seen`. A configuration that is not empty is refused.

pub(crate) fn test_filter() -> Vec<u8> {
    wat::parse_str(TEXT).unwrap()
}

const TEXT: &str = r#"
(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (memory (export "memory") 3)
  (global $heap (mut i32) (i32.const 65536))
  (global $held (mut i32) (i32.const 0))
  (global $body (mut i32) (i32.const 0))
  (data (i32.const 100) "x-do")
  (data (i32.const 110) "x-to")
  (data (i32.const 120) "x-limpet-destination")
  (data (i32.const 150) "x-added")
  (data (i32.const 160) "1")
  (data (i32.const 170) "x-filter")
  (data (i32.const 180) "seen")
  (data (i32.const 190) "no tea")
  (data (i32.const 200) "x-called")
  (data (i32.const 210) "side")
  (data (i32.const 220) "nobody")
  (data (i32.const 230) "x-status")
  (data (i32.const 240) "content-length")
  (data (i32.const 260) "replaced")
  ;; :method GET, :path /side, :authority a
  (data (i32.const 300) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/side\00:authority\00a\00")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.eqz (local.get 1)))
  (func $say (param $status i32)
    (i32.store8 (i32.const 50) (i32.add (i32.const 48) (local.get $status)))
    (drop (call $add (i32.const 0) (i32.const 230) (i32.const 8) (i32.const 50) (i32.const 1))))
  (func $ask (param $cluster i32) (param $len i32) (result i32)
    (call $call (local.get $cluster) (local.get $len) (i32.const 300) (i32.const 65)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 60)))
  (func (export "proxy_on_request_headers") (param $context i32) (param i32 i32) (result i32)
    (local $do i32)
    (global.set $heap (i32.const 65536))
    (global.set $body (i32.const 0))
    (if (call $get (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 0) (i32.const 4))
      (then (return (i32.const 0))))
    (local.set $do (i32.load8_u (i32.load (i32.const 0))))
    (if (i32.eq (local.get $do) (i32.const 104)) ;; h
      (then (drop (call $add (i32.const 0) (i32.const 150) (i32.const 7) (i32.const 160) (i32.const 1)))))
    (if (i32.eq (local.get $do) (i32.const 100)) ;; d
      (then
        (drop (call $get (i32.const 0) (i32.const 110) (i32.const 4) (i32.const 0) (i32.const 4)))
        (drop (call $replace (i32.const 0) (i32.const 120) (i32.const 20)
          (i32.load (i32.const 0)) (i32.load (i32.const 4))))))
    (if (i32.eq (local.get $do) (i32.const 114)) ;; r
      (then
        (drop (call $reply (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 190) (i32.const 6)
          (i32.const 0) (i32.const 0) (i32.const -1)))
        (return (i32.const 1))))
    (if (i32.eq (local.get $do) (i32.const 99)) ;; c
      (then
        (global.set $held (local.get $context))
        (if (call $ask (i32.const 210) (i32.const 4)) (then unreachable))
        (return (i32.const 1))))
    (if (i32.eq (local.get $do) (i32.const 117)) ;; u
      (then (call $say (call $ask (i32.const 220) (i32.const 6)))))
    (if (i32.eq (local.get $do) (i32.const 111)) ;; o
      (then (call $say (call $add (i32.const 0) (i32.const -8) (i32.const 100) (i32.const 160) (i32.const 1)))))
    (if (i32.eq (local.get $do) (i32.const 98)) ;; b
      (then
        (global.set $body (i32.const 1))
        (drop (call $remove (i32.const 0) (i32.const 240) (i32.const 14)))))
    (if (i32.eq (local.get $do) (i32.const 116)) (then unreachable)) ;; t
    (if (i32.eq (local.get $do) (i32.const 112)) (then (return (i32.const 1)))) ;; p
    (if (i32.eq (local.get $do) (i32.const 108)) (then (loop $for_ever (br $for_ever)))) ;; l
    (if (i32.eq (local.get $do) (i32.const 109)) ;; m
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        unreachable))
    (i32.const 0))
  (func (export "proxy_on_request_body") (param $context i32) (param $size i32) (param $end i32) (result i32)
    (if (i32.eqz (global.get $body)) (then (return (i32.const 0))))
    (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
    (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $size) (i32.const 260) (i32.const 8)))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 170) (i32.const 8) (i32.const 180) (i32.const 4)))
    (i32.const 0))
  (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
    (drop (call $effective (global.get $held)))
    (drop (call $add (i32.const 0) (i32.const 200) (i32.const 8) (i32.const 160) (i32.const 1)))
    (drop (call $continue (i32.const 0)))))
"#;
