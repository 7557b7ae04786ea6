// npm's `coap` as a device: one request, said as JSON on the command line; what it heard as JSON on stdout, a line each.
//
//   node coap_client.js '{"port": 5683, "pathname": "/obs", "method": "GET", "observe": true, "notifications": 3}'
//
// Beside what coap.request() takes: `payload` (text), `set` (options by name; Block1 as a number), `notifications` (how
// many to wait for), `patience` (seconds, 20).
const coap = require('coap')

const { payload, set = {}, notifications = 0, patience = 20, ...request } = JSON.parse(process.argv[2])

function tell (message) {
  const options = message.options.map(({ name, value }) => [name, Buffer.isBuffer(value) ? value.toString('hex') : value])
  console.log(JSON.stringify({ code: message.code, payload: message.payload.toString(), options }))
}

setTimeout(() => { console.error(`nothing more within ${patience} s`); process.exit(1) }, patience * 1000)
const asked = coap.request({ hostname: '127.0.0.1', ...request })
for (const [name, value] of Object.entries(set)) {
  asked.setOption(name, name === 'Block1' ? Buffer.of(value) : value)
}
asked.on('error', error => { console.error(error.message); process.exit(1) })
asked.on('response', response => {
  tell(response)
  if (notifications === 0) process.exit(0)
  let heard = 0
  response.on('data', () => {
    if (heard > 0) tell(response) // the first is the response itself
    if (heard++ === notifications) { response.close(); setTimeout(() => process.exit(0), 200) }
  })
})
asked.end(payload)
