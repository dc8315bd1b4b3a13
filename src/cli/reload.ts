// `spacedrive reload`: the daemon reads config.json, the token and the certificate again, while it runs.
import type { Command } from 'commander'
import type { Reloaded } from '../protocol/results.js'
import type { Desk } from './desk.js'

export function addReload(program: Command, desk: Desk): void {
  program
    .command('reload')
    .description('have the daemon read config.json, the token and the certificate again; nobody is disconnected')
    .action(async () => {
      const reloaded = await desk.client.call<Reloaded>('core.reload')
      await desk.answer(reloaded, () => linesOf(reloaded))
    })
}

function linesOf({ taken, waiting }: Reloaded): string[] {
  const lines = taken.length > 0 ? [`in force now: ${taken.join(', ')}`] : []
  if (waiting.length > 0) lines.push(`in force after \`spacedrive restart\`: ${waiting.join(', ')}`)
  return lines.length > 0 ? lines : ['nothing has changed']
}
