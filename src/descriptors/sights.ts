import { MemoryFiles } from './memory-use.js'
import { MachineFiles } from './pressure.js'

/** Files of the system that tell how things are, opened at boot with everything else that the process itself holds. */
export class Sights {
  readonly machine = new MachineFiles()
  readonly memory = new MemoryFiles()

  close(): void {
    this.machine.close()
    this.memory.close()
  }
}
