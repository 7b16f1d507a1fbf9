// A node of npm's bittorrent-dht that does what the lines on its standard input say, and answers each with a line.
// Arguments: the folder of its package, then the ports on 127.0.0.1 of the nodes to begin with.
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const [folder, ...ports] = process.argv.slice(2)
const { Client } = await import(pathToFileURL(`${folder}/index.js`))

const seed = Buffer.alloc(32, 's')
const privateKey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8'
})
const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32)
const verifyRaw = (signature, message, key) => verify(null, message, createPublicKey({
  key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key]), format: 'der', type: 'spki'
}), signature)

const dht = new Client({ bootstrap: ports.map(port => `127.0.0.1:${port}`), verify: verifyRaw, host: false })
const answer = value => process.stdout.write(JSON.stringify(value) + '\n')
const failed = error => answer({ error: String(error) })
const hex = buffer => buffer && buffer.toString('hex')
dht.on('peer', (peer, infoHash) => answer({ peer: `${peer.host}:${peer.port}`, infoHash: hex(infoHash) }))

const commands = {
  announce: ({ infoHash, port }) => dht.announce(infoHash, port, error => error ? failed(error) : answer({ done: true })),
  lookup: ({ infoHash }) => dht.lookup(infoHash, error => error ? failed(error) : answer({ done: true })),
  put: ({ value, salt, seq }) => {
    const mutable = { k: publicKey, seq, sign: buffer => sign(null, buffer, privateKey) }
    const item = { v: Buffer.from(value), ...(seq === undefined ? {} : mutable) }
    if (salt) item.salt = Buffer.from(salt)
    dht.put(item, (error, hash, count) => error ? failed(error) : answer({ target: hex(hash), count }))
  },
  get: ({ target, salt }) => {
    const options = salt ? { salt: Buffer.from(salt) } : {}
    dht.get(target, options, (error, item) => error ? failed(error) : answer({ value: item && String(item.v), seq: item && item.seq }))
  }
}

dht.listen(0, '127.0.0.1', () => answer({ port: dht.address().port, key: hex(publicKey) }))
dht.on('ready', () => answer({ ready: true }))
createInterface({ input: process.stdin }).on('line', line => {
  const { command, ...fields } = JSON.parse(line)
  commands[command](fields)
}).on('close', () => process.exit(0))
