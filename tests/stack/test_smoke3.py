import os, time
def test_stack(stack):
    t=time.time(); stack.start_workers(); print("workers", time.time()-t, stack.answering())
    print(stack.children_of("gpu"), stack.children_of("worker"))
    print(stack.value("select count(*) from django_migrations"))
    r=stack.manage("showmigrations","--plan"); print(r.stdout[-200:])
    stack.stop_valkey(); stack.start_valkey(); t=time.time(); stack.wait_for_workers("worker","gpu"); print("back", time.time()-t)
    import subprocess
    print(subprocess.run(["ps","axf","-o","pid,ppid,pgid,sid,args"],capture_output=True,text=True).stdout[-3000:])
    t=time.time();print(stack.end("worker"), time.time()-t)
    print(stack.log("gpu").read_text()[-3000:])
    stack.kill("gpu")
